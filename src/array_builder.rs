//! Making a shared array by the pages and on the nodes that the caller wishes.
//!
//! Every page is there before the array is handed out, so that no kernel meets a SIGBUS: reserved by
//! the file system where nothing special is asked for, touched (`touch`) else. The header comes last,
//! since writing it would take the first page before its owner does.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Dimension, IntoDimension};

use crate::array::{Header, SharedArray};
use crate::element::Pod;
use crate::error::Result;
use crate::npy;
use crate::pages::{HugeSize, Numa, Pages, nodes};
use crate::pool::Pool;
use crate::segment::{CreateError, Reserve, Segment};
use crate::sys::map::HUGE_BYTES;
use crate::sys::pages::{Pages as Range, Policy};
use crate::touch::{self, Geometry, Touch};

/// Makes a [`SharedArray`] whose pages and NUMA nodes are chosen; see [`SharedArray::builder`].
///
/// What was really got, [`SharedArray::memory`] tells.
#[derive(Debug)]
#[must_use = "it ends with `create`"]
pub struct ArrayBuilder<'p, T: Pod, D: Dimension> {
    dim: D,
    pages: Pages,
    numa: Numa,
    prefault: bool,
    owners: Option<(&'p Pool, usize)>,
    element: PhantomData<T>,
}

impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// An array of zero bytes whose pages and NUMA nodes are chosen.
    ///
    /// ```
    /// use pinpool::{Numa, Pages, Pool, SharedArray};
    ///
    /// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    /// let mut x = SharedArray::<f64, _>::builder(400_000)
    ///     .pages(Pages::Transparent)
    ///     .owners(&pool, 32_768)
    ///     .numa(Numa::FirstTouch)
    ///     .create()?;
    /// pool.for_each(x.chunks_out(32_768), |mut c, ctx| ctx.rng().fill_uniform(&mut c))?;
    /// println!("{}", x.memory().expect("/proc is there"));
    /// # Ok::<(), pinpool::Error>(())
    /// ```
    pub fn builder(shape: impl IntoDimension<Dim = D>) -> ArrayBuilder<'static, T, D> {
        ArrayBuilder {
            dim: shape.into_dimension(),
            pages: Pages::default(),
            numa: Numa::default(),
            prefault: false,
            owners: None,
            element: PhantomData,
        }
    }
}

impl<T: Pod, D: Dimension> ArrayBuilder<'_, T, D> {
    /// By what pages it is mapped.
    pub fn pages(mut self, pages: Pages) -> Self {
        self.pages = pages;
        self
    }

    /// On which nodes its pages lie.
    pub fn numa(mut self, numa: Numa) -> Self {
        self.numa = numa;
        self
    }

    /// Puts all pages into page tables at once, so that no job meets a page fault: those of the
    /// [owners](Self::owners) for what each begins with, else those of this process. With
    /// [`Numa::FirstTouch`] that is so anyway.
    pub fn prefault(mut self, yes: bool) -> Self {
        self.prefault = yes;
        self
    }

    /// Whose workers will work on it, and in chunks of how many rows: that says who begins with
    /// which part.
    pub fn owners<'q>(self, pool: &'q Pool, chunk_rows: usize) -> ArrayBuilder<'q, T, D> {
        let Self { dim, pages, numa, prefault, element, .. } = self;
        ArrayBuilder { dim, pages, numa, prefault, owners: Some((pool, chunk_rows)), element }
    }

    /// Makes it without a name, for the pool's own workers.
    ///
    /// # Errors
    /// [`CreateError`]: too large, not enough memory or reserved huge pages, no such node, a NUMA
    /// policy that the system refuses; [`Error::Job`](crate::Error::Job) where the owners' job
    /// fails.
    pub fn create(self) -> Result<SharedArray<T, D>> {
        let nameless = |bytes, reserve| Segment::nameless_when("array", bytes, reserve);
        let huge = |bytes, size| Segment::huge("array", bytes, size);
        match self.pages {
            Pages::Huge(size) => self.make(|bytes, _| huge(bytes, size)),
            Pages::TryHuge(size) => self.try_huge(size, huge, nameless),
            _ => self.make(nameless),
        }
    }

    fn try_huge(
        mut self,
        size: HugeSize,
        huge: impl Fn(usize, HugeSize) -> Result<Arc<Segment>, CreateError>,
        nameless: impl Fn(usize, Reserve) -> Result<Arc<Segment>, CreateError>,
    ) -> Result<SharedArray<T, D>> {
        match huge(SharedArray::<T, D>::file_bytes(&self.dim)?, size) {
            Ok(segment) => self.make(|_, _| Ok(segment)),
            Err(CreateError::NoHugePages { .. } | CreateError::HugePageSize { .. }) => {
                self.pages = Pages::Transparent;
                self.make(nameless)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes it under a name that other programs find as `/dev/shm/NAME`.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`SharedArray::create_named`]; reserved huge pages have no
    /// names.
    ///
    /// # Safety
    /// As [`SharedArray::create_named`].
    pub unsafe fn create_named(self, name: &str) -> Result<SharedArray<T, D>> {
        self.without_reserved(name)?.make(|bytes, reserve| Segment::named(name, bytes, reserve))
    }

    /// Makes it in a new file, which stays when the array is dropped.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`SharedArray::create_file`]; reserved huge pages have no
    /// names, and a file on a disk has no NUMA policy.
    ///
    /// # Safety
    /// As [`SharedArray::create_file`].
    pub unsafe fn create_file(self, path: impl AsRef<Path>) -> Result<SharedArray<T, D>> {
        let path = path.as_ref();
        let this = self.without_reserved(&path.display().to_string())?;
        this.make(|bytes, reserve| Segment::create_file(path, bytes, reserve))
    }

    fn without_reserved(mut self, name: &str) -> Result<Self, CreateError> {
        match self.pages {
            Pages::Huge(_) => return Err(CreateError::HugePagesNamed { name: name.to_owned() }),
            Pages::TryHuge(_) => self.pages = Pages::Transparent,
            _ => {}
        }
        Ok(self)
    }

    fn make(
        self,
        make: impl FnOnce(usize, Reserve) -> Result<Arc<Segment>, CreateError>,
    ) -> Result<SharedArray<T, D>> {
        let bytes = SharedArray::<T, D>::file_bytes(&self.dim)?;
        if self.numa == Numa::FirstTouch && self.owners.is_none() {
            return Err(CreateError::NoOwners.into());
        }
        let reserved = matches!(self.pages, Pages::Huge(_) | Pages::TryHuge(_));
        // Reserved pages are not taken from what is free.
        let policy = policy(self.numa, if reserved { 0 } else { bytes })?;
        let reserve = match (self.pages, self.numa) {
            (Pages::System, Numa::Default) => Reserve::Now,
            _ => Reserve::Later,
        };
        let segment = make(bytes, reserve)?;
        let made = self.place(&segment, reserve, policy.as_ref());
        if let Err(error) = made {
            segment.discard();
            return Err(error);
        }
        let header = match segment.huge_page_bytes() {
            Some(_) => Header::Stored,
            None => Header::Written,
        };
        Ok(SharedArray::over(segment, self.dim, header)?)
    }

    /// Sets the policy, has the pages there, and puts them into page tables.
    fn place(
        &self,
        segment: &Arc<Segment>,
        reserve: Reserve,
        policy: Option<&(Policy, Vec<usize>)>,
    ) -> Result<()> {
        if let Some((policy, nodes)) = policy {
            if !segment.is_in_memory() {
                let path = segment.label().into_owned();
                return Err(CreateError::FilePolicy { path }.into());
            }
            set_policy(segment, *policy, nodes)?;
        }
        let touch = match self.pages {
            Pages::Base => Touch::Base,
            Pages::Transparent => Touch::Transparent,
            Pages::System | Pages::Huge(_) | Pages::TryHuge(_) => Touch::AsItIs,
        };
        let granule = segment.huge_page_bytes().unwrap_or(match touch {
            Touch::Transparent => HUGE_BYTES,
            _ => rustix::param::page_size(),
        });
        match self.owners {
            Some((pool, chunk_rows)) if self.numa == Numa::FirstTouch => {
                return touch::by_workers(
                    pool,
                    segment,
                    &self.geometry(segment, chunk_rows, granule)?,
                    touch,
                );
            }
            _ if reserve == Reserve::Later => touch::here(segment, touch)?,
            Some(_) => {}
            None if self.prefault => touch::here(segment, touch)?,
            None => {}
        }
        match self.owners {
            Some((pool, chunk_rows)) if self.prefault => {
                let geometry = self.geometry(segment, chunk_rows, granule)?;
                touch::by_workers(pool, segment, &geometry, Touch::AsItIs)
            }
            _ => Ok(()),
        }
    }

    fn geometry(&self, segment: &Segment, chunk_rows: usize, granule: usize) -> Result<Geometry> {
        if chunk_rows == 0 {
            return Err(crate::error::ArgsError::ChunkZero.into());
        }
        let shape = self.dim.slice();
        Ok(Geometry {
            segment_bytes: segment.len(),
            data_offset: npy::HEADER_BYTES,
            rows: shape.first().copied().unwrap_or(1),
            row_bytes: shape.iter().skip(1).product::<usize>() * size_of::<T>(),
            chunk_rows,
            granule,
        })
    }
}

/// The kernel's policy for a wish, once the nodes are known to be there and to have room.
fn policy(numa: Numa, bytes: usize) -> Result<Option<(Policy, Vec<usize>)>, CreateError> {
    let root = Path::new("/");
    let usable = || nodes::usable(root).unwrap_or_else(|| [0].into_iter().collect());
    match numa {
        Numa::Default | Numa::FirstTouch => Ok(None),
        Numa::Interleave => Ok(Some((Policy::Interleave, usable().iter().collect()))),
        Numa::Bind(node) => {
            let nodes = usable();
            if !nodes.contains(node) {
                return Err(CreateError::NoNode { node, nodes: nodes.to_string() });
            }
            match nodes::free_bytes(root, node) {
                Some(free) if free < bytes as u64 => Err(CreateError::NoMemory {
                    asked: bytes as u64,
                    free,
                    limit: format!("NUMA node {node}"),
                }),
                _ => Ok(Some((Policy::Bind, vec![node]))),
            }
        }
    }
}

fn set_policy(segment: &Segment, policy: Policy, nodes: &[usize]) -> Result<(), CreateError> {
    let range = Range::new(segment.base() as usize, segment.len().max(1));
    match range.set_policy(policy, nodes) {
        // Where there is one node, every page lies there, whether it can be said or not.
        Err(_) if nodes.len() <= 1 && only_node(nodes) => Ok(()),
        Err(source) => Err(CreateError::Policy { source }),
        Ok(()) => Ok(()),
    }
}

/// Whether the machine has no other node for us than these.
fn only_node(nodes: &[usize]) -> bool {
    nodes::usable(Path::new("/")).is_none_or(|usable| usable.iter().eq(nodes.iter().copied()))
}
