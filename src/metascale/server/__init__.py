"""METASCALE behind OpenAI's chat completions, beside the graphs on LangGraph's server.

`metascale.server.app:app` is what `http.app` in a `langgraph.json` names; it needs the extra `serve`.
"""
