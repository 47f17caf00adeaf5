"""The server of a certification authority, composed of protocols, store and config."""
