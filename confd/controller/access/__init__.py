"""Who may do what on a controller: tokens, policies, freezes and changes; nothing here knows HTTP."""
