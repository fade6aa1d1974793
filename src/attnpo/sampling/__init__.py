"""Sampling responses: one interface over the engines."""

from attnpo.sampling.base import SampledResponse, Sampler, SampleRequest, SamplingParams, request_key
from attnpo.sampling.continuous_sampler import ContinuousBatchingSampler
from attnpo.sampling.decoding import Row
from attnpo.sampling.engines import ENGINES, EngineSettings, build_sampler
from attnpo.sampling.prompts import end_token_ids, opening_text, render_prompt
from attnpo.sampling.server_sampler import ServerSampler
from attnpo.sampling.settings import SamplingSettings
from attnpo.sampling.transformers_sampler import TransformersSampler
from attnpo.sampling.vllm_sampler import VLLMSampler

__all__ = [
    "ENGINES",
    "ContinuousBatchingSampler",
    "EngineSettings",
    "Row",
    "SampledResponse",
    "Sampler",
    "SampleRequest",
    "SamplingParams",
    "SamplingSettings",
    "ServerSampler",
    "TransformersSampler",
    "VLLMSampler",
    "build_sampler",
    "end_token_ids",
    "opening_text",
    "render_prompt",
    "request_key",
]
