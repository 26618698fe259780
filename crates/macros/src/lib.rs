//! The #[task] attribute of manyhands.
