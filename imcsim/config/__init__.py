"""YAML files to checked, frozen sections: positions, ``--set`` options, all faults at once.

Knows no kind of file; `imcsim.chip` reads architectures with it, `imcsim.training` recipes.
"""
