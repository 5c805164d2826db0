//! `ordu up` and `ordu dev`: their flags, and what wins where several say something.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use ordu_transport::core::NodeName;

use super::{parse_address, parse_id, read_token};
use crate::data::{DataChoice, default_directory};
use crate::dev;
use crate::failure::Failure;
use crate::node::{self, LogFormat, NodeConfig};
use crate::text::parse_duration;

/// Most members that a node waits for.
const EXPECT_MAX: i64 = 1_000;
/// Most nodes of a `dev` cluster.
const DEV_NODES_MAX: u16 = 50;

/// Every flag has a variable `ORDU_UP_…`; a flag wins over its variable
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The node's name, unique in the cluster [default: the host's name]
    #[arg(long, env = "ORDU_UP_NAME", value_name = "N", value_parser = parse_id)]
    name: Option<String>,
    /// The cluster's name
    #[arg(long, env = "ORDU_UP_CLUSTER", value_name = "NAME", default_value = "ordu", value_parser = parse_id)]
    cluster: String,
    /// Where to take QUIC from other nodes (UDP)
    #[arg(long, env = "ORDU_UP_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:7600")]
    listen: SocketAddr,
    /// What others dial, if that is not --listen
    #[arg(long, env = "ORDU_UP_ADVERTISE", value_name = "HOST:PORT", value_parser = parse_address)]
    advertise: Option<String>,
    /// Where to serve HTTP (TCP)
    #[arg(long, env = "ORDU_UP_HTTP", value_name = "IP:PORT", default_value = "127.0.0.1:7600")]
    http: SocketAddr,
    /// Ask for the bearer token in this file
    #[arg(long, env = "ORDU_UP_HTTP_TOKEN_FILE", value_name = "F")]
    http_token_file: Option<PathBuf>,
    /// A node of the cluster to join; tried for ever
    #[arg(long, env = "ORDU_UP_JOIN", value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_address)]
    join: Vec<String>,
    /// Where ca.pem, node.pem and node.key are
    #[arg(long, env = "ORDU_UP_TLS_DIR", value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Where to keep data [default: $XDG_STATE_HOME/ordu/NAME, else ~/.local/state/ordu/NAME]
    #[arg(long, env = "ORDU_UP_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep everything in a directory that is removed at exit
    #[arg(long, env = "ORDU_UP_EPHEMERAL", value_parser = FalseyValueParser::new())]
    ephemeral: bool,
    /// Not yet: a file with these settings
    #[arg(long, env = "ORDU_UP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Not yet: pairs that describe the node
    #[arg(long, env = "ORDU_UP_LABEL", value_name = "K=V")]
    label: Vec<String>,
    /// Take no child until this many members were seen, this one included [default: 1]
    #[arg(long, env = "ORDU_UP_EXPECT", value_name = "N", default_value_t = 1, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(1..=EXPECT_MAX))]
    expect: u32,
    /// How long to wait for them
    #[arg(long, env = "ORDU_UP_EXPECT_TIMEOUT", value_name = "D", default_value = "1m", value_parser = parse_duration)]
    expect_timeout: Duration,
    /// What to do when cut off: keep-running (quorum:Q is not yet)
    #[arg(long, env = "ORDU_UP_PARTITION", value_name = "POLICY", default_value = "keep-running")]
    partition: String,
    /// When to move children: active (passive is not yet)
    #[arg(long, env = "ORDU_UP_REDISTRIBUTION", value_name = "MODE", default_value = "active")]
    redistribution: String,
    /// How long to move children away at exit
    #[arg(long, env = "ORDU_UP_DRAIN_TIMEOUT", value_name = "D", default_value = "30s", value_parser = parse_duration)]
    drain_timeout: Duration,
    /// How long a child that is done keeps its row
    #[arg(long, env = "ORDU_UP_KEEP_DONE", value_name = "D", default_value = "1m", value_parser = parse_duration)]
    keep_done: Duration,
    /// How to write the log
    #[arg(long, env = "ORDU_UP_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

impl Up {
    /// Runs the node in the foreground. `given` says which settings came from where.
    pub(crate) fn run(self, given: Option<&ArgMatches>) -> Result<(), Failure> {
        let source = |id| given.and_then(|given| given.value_source(id));
        let config = self.config(source("data_dir"), source("ephemeral")).map_err(|failure| failure.context("up"))?;
        node::run(config).map_err(|failure| failure.context("up"))
    }

    fn config(self, data_dir: Option<ValueSource>, ephemeral: Option<ValueSource>) -> Result<NodeConfig, Failure> {
        self.refuse_not_yet()?;
        let name = match self.name {
            Some(name) => name,
            None => host_name()?,
        };
        if matches!(&*name, "." | "..") {
            return Err(Failure::usage(format!("--name: {name:?} cannot be a node's name")));
        }
        let name = NodeName::new(&name).map_err(|error| Failure::usage(format!("--name: {error}")))?;
        if self.listen.ip().is_unspecified() && self.advertise.is_none() {
            return Err(Failure::usage(format!("--listen {}: others need --advertise HOST:PORT to dial", self.listen)));
        }
        let token = self.http_token_file.as_deref().map(read_token).transpose()?;
        if !self.http.ip().is_loopback() && token.is_none() {
            return Err(Failure::usage(format!(
                "--http {}: an address that others reach needs --http-token-file",
                self.http
            )));
        }
        let data = match (self.data_dir, self.ephemeral) {
            (Some(_), true) if data_dir == ephemeral => {
                return Err(Failure::usage("--data-dir and --ephemeral exclude one another"));
            }
            (Some(path), true) if ephemeral == Some(ValueSource::EnvVariable) => DataChoice::Directory(path),
            (_, true) => DataChoice::Ephemeral,
            (Some(path), false) => DataChoice::Directory(path),
            (None, false) => DataChoice::Directory(default_directory(name.as_str())?),
        };
        Ok(NodeConfig {
            name,
            cluster: self.cluster,
            listen: self.listen,
            advertise: self.advertise,
            http: self.http,
            token,
            join: self.join,
            tls_dir: self.tls_dir,
            data,
            expect: (self.expect as usize, self.expect_timeout),
            drain_timeout: self.drain_timeout,
            keep_done: self.keep_done,
            log_format: self.log_format,
        })
    }

    fn refuse_not_yet(&self) -> Result<(), Failure> {
        for (is_given, flag) in [
            (self.config.is_some(), "--config"),
            (!self.label.is_empty(), "--label"),
            (self.partition.starts_with("quorum:"), "--partition quorum"),
            (self.redistribution == "passive", "--redistribution passive"),
        ] {
            if is_given {
                return Err(Failure::not_yet(flag));
            }
        }
        if self.partition != "keep-running" {
            return Err(Failure::usage(format!("--partition: {:?} is not keep-running or quorum:Q", self.partition)));
        }
        if self.redistribution != "active" {
            return Err(Failure::usage(format!(
                "--redistribution: {:?} is not active or passive",
                self.redistribution
            )));
        }
        Ok(())
    }
}

fn host_name() -> Result<String, Failure> {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    parse_id(&name)
        .map_err(|why| Failure::usage(format!("the host's name {name:?} cannot be a node's ({why}); give --name")))
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(DEV_NODES_MAX)))]
    nodes: u16,
    /// Where the first node serves HTTP; the others take the ports after it, each for HTTP and QUIC
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7600")]
    http: SocketAddr,
}

impl Dev {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::usage(why).context("dev"));
        if !self.http.ip().is_loopback() {
            return refuse(format!("--http {}: a throw-away cluster serves on a loopback address only", self.http));
        }
        if self.http.port() == 0 || self.http.port().checked_add(self.nodes - 1).is_none() {
            return refuse(format!("--http {}: there is no room for {} ports from there on", self.http, self.nodes));
        }
        dev::run(self.nodes, self.http).map_err(|failure| failure.context("dev"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::failure::USAGE;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        up: Up,
    }

    fn config(line: &str) -> Result<NodeConfig, Failure> {
        let arguments = std::iter::once("up").chain(line.split_whitespace());
        let up = Only::try_parse_from(arguments).map_err(|error| Failure::usage(error.to_string()))?.up;
        let source = |is_given: bool| is_given.then_some(ValueSource::CommandLine);
        let sources = (source(up.data_dir.is_some()), source(up.ephemeral));
        up.config(sources.0, sources.1)
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = config("--name n1 --data-dir /x").unwrap();
        assert_eq!(config.cluster, "ordu");
        assert_eq!(config.listen, config.http);
        assert_eq!(config.http.to_string(), "127.0.0.1:7600");
        assert_eq!(config.drain_timeout, Duration::from_secs(30));
        assert_eq!(config.keep_done, Duration::from_secs(60));
        assert_eq!(config.data, DataChoice::Directory("/x".into()));
        assert!(config.join.is_empty() && config.token.is_none() && config.tls_dir.is_none());
    }

    #[test]
    fn what_is_not_yet_is_refused_and_so_is_nonsense() {
        for (line, expected) in [
            ("--partition quorum:2", "not yet"),
            ("--redistribution passive", "not yet"),
            ("--expect 0", "0 is not in 1..=1000"),
            ("--expect many", "invalid digit"),
            ("--label a=b", "not yet"),
            ("--config x.toml", "not yet"),
            ("--partition maybe", "keep-running"),
            ("--redistribution lazy", "active or passive"),
            ("--listen 0.0.0.0:7600", "--advertise"),
            ("--http 0.0.0.0:7600", "--http-token-file"),
            ("--http-token-file /no/such/file", "/no/such/file"),
            ("--data-dir /x --ephemeral", "exclude"),
            ("--name ..", "cannot be a node's name"),
            ("--name a/b", "'/'"),
            ("--drain-timeout 5", "duration"),
            ("--join nowhere", "HOST:PORT"),
        ] {
            let failure = config(&format!("--name n1 {line}").replace("--name n1 --name", "--name")).unwrap_err();
            assert_eq!(failure.code, USAGE, "{line}");
            assert!(failure.message.contains(expected), "{line}: {failure}");
        }
        assert!(config("--name n1 --partition keep-running --redistribution active --ephemeral").is_ok());
    }

    #[test]
    fn a_flag_wins_over_a_variable() {
        let both = || Only::try_parse_from(["up", "--name", "n1", "--data-dir", "/x", "--ephemeral"]).unwrap().up;
        let (flag, variable) = (Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable));
        assert_eq!(both().config(variable, flag).unwrap().data, DataChoice::Ephemeral);
        assert_eq!(both().config(flag, variable).unwrap().data, DataChoice::Directory("/x".into()));
        assert!(both().config(variable, variable).is_err());
    }
}
