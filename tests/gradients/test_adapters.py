from __future__ import annotations

import torch
from adapters import adapter_folder, base_folder

from attnpo.gradients.passes import response_log_probs
from attnpo.models import adapter_parameters, find_model, load_model


def test_gradients_of_a_model_with_adapters_are_by_these_alone(tmp_path):
    base = base_folder(tmp_path / "base", num_hidden_layers=1)
    source = find_model(str(adapter_folder(tmp_path / "adapter", base)))
    model, merged = (load_model(source, device="cpu", adapters_apart=apart) for apart in (True, False))
    parameters = adapter_parameters(model)
    assert {tuple(parameter.shape) for parameter in parameters} <= {
        tuple(each.shape) for name, each in model.named_parameters() if "lora_" in name
    }
    assert len(parameters) == 2 * 7  # two matrices for each linear map of a layer
    assert adapter_parameters(merged) == []
    ids = [[5, 6, 7]], [[8, 9]]
    found = response_log_probs(model, 0, *ids)
    assert torch.allclose(found, response_log_probs(merged, 0, *ids), atol=1e-4)
    gradients = torch.autograd.grad(found.sum(), parameters)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
