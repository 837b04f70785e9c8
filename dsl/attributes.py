"""Names that compiled modules have for themselves, so that no weight or layer can bear them.

The language knows no torch, so they are listed; a test compares the list with a module.
"""

from __future__ import annotations

ATTRIBUTES = frozenset(
    """
    add_module after_step apply argument_names bfloat16 buffers call_super_init children choices
    compile compiled cpu cuda decay_groups double dump_patches eval explain extra_repr float
    forward get_buffer get_extra_state get_parameter get_submodule graph_module half ipu
    load_state_dict losses lowering lowering_at modules mtia named_buffers named_children
    named_modules named_parameters options parameters prepare program register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ reset_parameters
    scores set_extra_state set_submodule share_memory sparsity spec state_dict steps taps to to_empty train
    training type weights xpu zero_grad
    """.split()
)
