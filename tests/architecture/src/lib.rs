//! Holds no code: `tests/` beside it checks the rules of ARCHITECTURE.md.

#![forbid(unsafe_code)]
