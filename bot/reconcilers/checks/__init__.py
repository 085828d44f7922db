"""Every pull request and merge group is answered."""
