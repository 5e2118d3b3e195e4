"""Data attribution: gradients, Fisher information, unlearning, and the methods behind one interface.

Public modules: `attributor`, `ensembles.consensus`, `ensembles.expected_change`, `ensembles.models`,
`gradients.key_value`, `gradients.parameters`, `gradients.per_sample`, `gradients.row_store`,
`groups.conditions`, `methods.context`, `methods.das`, `methods.gradient_methods`,
`methods.hyperparameters`, `methods.prepared_ascent`, `methods.registry`, `methods.trak`,
`reranking.building`, `reranking.kernel`, `unlearning.artifacts`, `unlearning.ascent`,
`unlearning.fast_teacher`, `unlearning.forgetting`, `unlearning.groups`, `unlearning.teacher`.
"""
