//! A segment itself as an argument: where it is mapped, for work on its pages and not its elements.

use std::sync::Arc;

use super::{Args, Description, Reader, sealed};
use crate::error::ArgsError;
use crate::layout::ArgKind;
use crate::segment::Segment;

/// Gives each chunk the address of the mapping.
#[derive(Debug)]
pub(crate) struct Mapping<'a>(pub(crate) &'a Arc<Segment>);

impl sealed::Describe for Mapping<'_> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        job.untyped(self.0, 0, &[self.0.len()], 1, ArgKind::Whole, 0)
    }
}

impl Args for Mapping<'_> {
    type Item<'w> = usize;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> usize {
        let (_, base) = reader.next();
        base as usize
    }
}
