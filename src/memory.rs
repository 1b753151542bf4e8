//! Secrets in memory: they are in no core dump, and gone once nobody uses them.
//!
//! What we hold ourselves is wiped where it ends (`zeroize`). But the MQTT library's crate copies a password and frees the
//! copies as they are. So the allocator wipes what is freed, up to the size that a password may have.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::ptr;

/// Bytes of a block that is wiped when it is freed: the longest password (65,535 bytes) and a packet around it. What is
/// larger are the spool's buffers.
const WIPED_MAX: usize = 80 * 1024;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

/// The system's allocator, but for wiping.
struct Wiping;

#[expect(unsafe_code, reason = "an allocator has no safe interface; all is left to the system's")]
// SAFETY: every block comes from the system's allocator and goes back to it with the layout that it came with.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // Once, not at every place where something is freed: that would make the program a tenth larger.
    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() <= WIPED_MAX {
            // SAFETY: the caller owns the block, which has this size, and does not use it any more.
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
            // Else the compiler leaves out what is written to a block that is freed.
            black_box(block);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() > WIPED_MAX {
            // SAFETY: as above.
            return unsafe { System.realloc(block, layout, size) };
        }
        // The system would free the former block as it is.
        // SAFETY: the caller promises that the size fits the alignment and is not zero.
        let new = unsafe { System.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks are as large as what is copied, and the new one is nobody else's; the former one is the
            // caller's to give up.
            unsafe {
                ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        new
    }
}

/// Keeps this process's memory out of core dumps, and from other processes of its user.
pub fn keep_to_ourselves() {
    // A kernel that refuses this refuses nobody's telemetry.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
