"""What others may call over HTTP: the page in the browser, and the server."""
