"""Text-to-image generators as diffusers pipelines: loading, training of the reference, sampling, losses.

Public modules: `adapters.merging`, `adapters.specification`, `assembly`, `attention`, `denoiser`,
`fingerprint`, `losses`, `migration`, `pipeline`, `prediction_check`, `reference`, `reference_training`,
`training`.
"""
