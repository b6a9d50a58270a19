"""Streamlit pages over the HTTP API; owns no rule and opens no file."""
