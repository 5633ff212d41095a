"""Web page that shows a run: a server, a page of tabs, and what each tab asks the server for."""
