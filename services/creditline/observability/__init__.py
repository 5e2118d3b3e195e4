"""What an operator sees of a process: metrics of its own run, their exposition, logs and traces.

Public modules: `exposition`, `logs`, `process_metrics`, `settings`, `tracing`.
"""
