//! The terminal while it is ours: taken as a whole, and given back as it was however the program ends.

use std::io::{self, Stdout, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

/// Whether there is something to give back; a panic on another thread must be able to tell.
static IS_OURS: AtomicBool = AtomicBool::new(false);
/// What Rust's own panics exit with.
const PANICKED: i32 = 101;

/// The terminal. Dropping it gives it back.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal; where that fails it is as it was.
    pub(super) fn open() -> io::Result<Self> {
        let before = std::panic::take_hook();
        // Whichever thread panics, the program cannot go on; and what is said of it must be seen.
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
            std::process::exit(PANICKED);
        }));
        enable_raw_mode()?;
        IS_OURS.store(true, Ordering::SeqCst);
        let screen = Terminal::new(CrosstermBackend::new(stdout())).map(|terminal| Self { terminal });
        let taken = screen.and_then(|screen| execute!(stdout(), EnterAlternateScreen, Hide).map(|()| screen));
        if taken.is_err() {
            give_back();
        }
        taken
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal what it was; once, for a second time would move the shell's cursor.
pub(super) fn give_back() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        // First what does not wait for whoever reads the terminal. Nothing can be done about what fails here.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}
