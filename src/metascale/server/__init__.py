"""METASCALE as OpenAI's chat completions, next to the graphs on LangGraph's server.

Set `http.app` in a `langgraph.json` to `metascale.server.app:app`. It needs the extra `serve`.
"""
