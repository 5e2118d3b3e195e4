"""The clients of the embedder service, one for each caller.

`queries.EmbedderClient` embeds a query for the gateway, `works.WorkEmbedder` embeds batches of works for an
ingest. Nothing here imports torch.
"""
