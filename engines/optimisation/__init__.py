"""Image towers made smaller and faster, and what that costs."""
