"""What the commands do, one function each: discover, prove, evaluate, inspect, plan and train a model of the user's."""
