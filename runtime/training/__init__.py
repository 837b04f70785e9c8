"""Training compiled models on text, character by character.

data         files -> characters -> token ids; a part held out; batches by seed and step
models       what can be trained: token ids in, logits out, and no look into the future
loop         one run: optimiser, schedule, auxiliary losses, validation, what it cost
checkpoint   a run in one file, written atomically and without pickle
plan         what a run was asked to do, kept beside its checkpoints
statistics   means, 95 % intervals and paired differences over seeds
processes    a run in a process of its own, so that its peak memory is its own
pictures     learning curves and attention weights
"""
