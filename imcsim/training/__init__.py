"""Train spiking networks in PyTorch and export them as workloads (extra `train`).

The only package that imports torch. `recipe` says what is trained, `session` trains it, `export`
writes the workload; `network` is the trainable network, `integer` the same network in the integers
of the chip.
"""
