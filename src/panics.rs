//! Panics of kernels: their text and place go into the job's error, not onto the terminal.
//!
//! A hook around the host's own one, set when the first pool is built: inside a kernel it keeps
//! the message, anywhere else it calls the hook that was there before.

#![forbid(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    static IN_KERNEL: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sets the hook, once a process.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_KERNEL.get() {
                let place = info.location().map(|l| format!(" at {l}")).unwrap_or_default();
                MESSAGE.replace(Some(format!("{}{place}", text(info.payload()))));
            } else {
                before(info);
            }
        }));
    });
}

/// Marks this thread as running a kernel, or not.
pub(crate) fn set_in_kernel(on: bool) {
    IN_KERNEL.set(on);
}

/// The message of the panic that was just caught.
///
/// The payload is leaked: dropping it runs the kernel's code, which may panic once more.
pub(crate) fn take_message(payload: Box<dyn Any + Send>) -> String {
    let message = MESSAGE.take().unwrap_or_else(|| text(payload.as_ref()).to_owned());
    std::mem::forget(payload);
    message
}

/// Whether this thread is running a kernel.
pub(crate) fn in_kernel() -> bool {
    IN_KERNEL.get()
}

fn text(payload: &dyn Any) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}
