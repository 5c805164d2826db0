//! `ordu top`: a live view of the cluster in the terminal. It looks and changes nothing.
//!
//! [`snapshot`] is what the node answers, [`model`] what is done with it and with [`keys`], [`listing`] one table of it,
//! [`view`] draws it, [`screen`] is the terminal. Here are the threads, which only wait, and the loop between them.

mod keys;
mod listing;
mod model;
mod screen;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, KeyEvent};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::client::{Client, Connect};
use super::table::wants_colour;
use crate::failure::Failure;
use crate::text::parse_duration;
use model::Model;
use screen::Screen;
use snapshot::Snapshot;

/// How often the node may be asked.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How seldom.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A node that takes long to answer is left alone for as long again, but no longer than this.
const REST_MAX: Duration = Duration::from_secs(2);
/// Inputs that wait to be taken; whoever has a further one waits.
const INPUTS_MAX: usize = 64;
/// Ages are shown in seconds.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
/// How long the terminal may take to show that we end; it may be one that nobody reads.
const END_MAX: Duration = Duration::from_secs(2);
/// For whoever wants no view.
const INSTEAD: &str = "for scripts there are `ordu status`, `ordu ps --json` and `ordu events -f`";

#[derive(Debug, Args)]
#[command(mut_arg("json", |argument| argument.hide(true)))]
#[command(mut_arg("timeout", |argument| argument.help("How long the node may take for each answer")))]
pub(crate) struct Top {
    /// Ask the node so often, 100ms to 60s
    #[arg(long, value_name = "D", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    #[command(flatten)]
    connect: Connect,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    match (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        true => Ok(interval),
        false => Err("it is not between 100ms and 60s".into()),
    }
}

/// What the loop waits for.
enum Input {
    Answer { asked: Instant, answer: Result<Box<Snapshot>, Failure> },
    Key(KeyEvent),
    Resized,
    NoKeyboard(io::Error),
    Signal(i32),
}

/// Why the loop ended.
enum End {
    Wish,
    Signal(i32),
}

impl Top {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self { interval, connect } = self;
        if connect.json {
            return Err(Failure::usage(format!("top is a view for people and prints no JSON; {INSTEAD}")));
        }
        if !io::stdout().is_terminal() {
            return Err(Failure::usage(format!("top needs a terminal to draw on; {INSTEAD}")));
        }
        let client = Client::new(&connect)?;
        let asked = Instant::now();
        let first = Snapshot::fetch(&client)?;
        let mut model = Model::new(connect.address().to_owned(), interval, first, asked);
        let (sender, inputs) = sync_channel(INPUTS_MAX);
        // Signals first: from here on none leaves a terminal that is not as it was.
        listen_to_signals(sender.clone())?;
        let mut screen = Screen::open()
            .map_err(|error| Failure::usage(format!("cannot take the terminal to draw on it: {error}; {INSTEAD}")))?;
        let keys = sender.clone();
        std::thread::spawn(move || read_keys(&keys));
        std::thread::spawn(move || ask(&client, interval, &sender));
        let end = show(&mut screen, &mut model, &inputs);
        drop(screen);
        if let End::Signal(signal) = end? {
            // Whoever sent it sees that it did its work. It comes back only where the signal is a strange one.
            let _ = emulate_default_handler(signal);
        }
        Ok(())
    }
}

/// Draws, and takes what comes, until somebody has enough.
fn show(screen: &mut Screen, model: &mut Model, inputs: &Receiver<Input>) -> Result<End, Failure> {
    let is_coloured = wants_colour();
    while !model.is_over {
        let brush = view::Brush { wall: jiff::Timestamp::now(), now: Instant::now(), is_coloured };
        let drawn = screen.terminal.draw(|frame| view::draw(frame.buffer_mut(), model, brush));
        drawn.map_err(|error| Failure::usage(format!("cannot draw on the terminal any more: {error}")))?;
        let mut next = match inputs.recv_timeout(REDRAW_INTERVAL) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(End::Wish),
        };
        // All that is there is taken before it is drawn: a held key must not get ahead of the terminal.
        while let Some(input) = next {
            if let Some(end) = take(model, input)? {
                return Ok(end);
            }
            next = inputs.try_recv().ok();
        }
    }
    Ok(End::Wish)
}

fn take(model: &mut Model, input: Input) -> Result<Option<End>, Failure> {
    match input {
        Input::Answer { asked, answer } => model.handle_answer(asked, answer.map(|snapshot| *snapshot)),
        Input::Key(key) => {
            if let Some(action) = keys::action(key, model.is_writing) {
                model.handle_action(action);
            }
        }
        Input::Resized => {}
        Input::NoKeyboard(error) => {
            return Err(Failure::usage(format!("cannot read the terminal's keyboard any more: {error}")));
        }
        Input::Signal(signal) => return Ok(Some(End::Signal(signal))),
    }
    Ok(model.is_over.then_some(End::Wish))
}

/// Asks the node again and again, one question at a time, whatever comes of it.
fn ask(client: &Client, interval: Duration, sender: &SyncSender<Input>) {
    let mut pause = interval;
    loop {
        std::thread::sleep(pause);
        let asked = Instant::now();
        let answer = Snapshot::fetch(client).map(Box::new);
        let took = asked.elapsed();
        if sender.send(Input::Answer { asked, answer }).is_err() {
            return;
        }
        pause = interval.saturating_sub(took).max(took.min(REST_MAX));
    }
}

fn read_keys(sender: &SyncSender<Input>) {
    loop {
        let input = match event::read() {
            Ok(event::Event::Key(key)) => Input::Key(key),
            Ok(event::Event::Resize(..)) => Input::Resized,
            Ok(
                event::Event::FocusGained | event::Event::FocusLost | event::Event::Mouse(_) | event::Event::Paste(_),
            ) => {
                continue;
            }
            Err(error) => Input::NoKeyboard(error),
        };
        let is_last = matches!(input, Input::NoKeyboard(_));
        if sender.send(input).is_err() || is_last {
            return;
        }
    }
}

fn listen_to_signals(sender: SyncSender<Input>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| Failure::usage(format!("cannot listen to signals: {error}")))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let _ = sender.try_send(Input::Signal(signal));
            std::thread::sleep(END_MAX);
            // The loop does not come to it, as when the terminal takes nothing more.
            let _ = ratatui::crossterm::terminal::disable_raw_mode();
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}
