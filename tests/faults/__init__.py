"""Every file operation of journal and delivery fails once, in turn, under a running job: nothing is lost or doubled."""
