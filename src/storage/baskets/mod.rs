//! A checkout with its lines as a whole: one read of all that a question names, and one guarded write of everything
//! that was told. Both take as many baskets as there are: the webhook path uses them for groups of events, everybody
//! else for one.

mod draft;
mod read;
mod write;

pub use self::draft::Draft;
pub(in crate::storage) use self::read::Columns;
pub use self::read::{FIND, Found, Question, find, find_by_id};
pub use self::write::{Batch, WRITE, write};
