"""The terminal application: screens draw small values, and work happens outside of them."""
