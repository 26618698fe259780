//! What a program without `unsafe` can do with the bytes of a handle: open the object that they
//! name as what it is, and nothing else.
//!
//! | file | what |
//! |---|---|
//! | `every_type.rs` | the types that can be sent, and one way to open any of them |
//! | `forged.rs` | single ways to make a handle up, each with its right answer |
//! | `fuzz.rs` | a million made-up handles; while objects come and go |
//! | `elsewhere.rs` | in another process |

#![forbid(unsafe_code)]

mod elsewhere;
mod every_type;
mod forged;
mod fuzz;

manyhands::test_entry!();
