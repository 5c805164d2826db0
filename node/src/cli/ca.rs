//! `ordu ca init | issue`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::children::parse_id;
use super::table::print_line;
use crate::ca;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Ca {
    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Make a private CA: DIR/ca.pem and DIR/ca.key
    Init {
        /// Where
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Issue a node's certificate: DIR/NAME/{ca.pem,node.pem,node.key}, for `ordu up --tls-dir`
    Issue {
        /// Where the CA is
        dir: PathBuf,
        /// The node's name
        #[arg(value_parser = parse_id)]
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Ca {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            CaCommand::Init { dir, json } => {
                ca::init(&dir).map_err(|error| Failure::usage(format!("ca init: {error}")))?;
                let shown = dir.display();
                if json {
                    return print_line(&serde_json::json!({"dir": shown.to_string()}).to_string());
                }
                print_line(&format!("made a CA in {shown}; keep {shown}/{} to yourself", ca::CA_KEY))
            }
            CaCommand::Issue { dir, name, json } => {
                let issued = ca::issue(&dir, &name).map_err(|error| Failure::usage(format!("ca issue: {error}")))?;
                let shown = issued.display();
                if json {
                    return print_line(&serde_json::json!({"name": name, "tls_dir": shown.to_string()}).to_string());
                }
                print_line(&format!(
                    "issued {shown}; copy it to its host; there: ordu up --name {name} --tls-dir {name}"
                ))
            }
        }
    }
}
