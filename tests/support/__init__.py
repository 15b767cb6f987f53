"""What tests share: stand-ins for the model, the server and the page, and worlds to try them in."""
