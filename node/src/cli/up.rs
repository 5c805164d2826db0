//! `ordu up` and `ordu dev`: their flags, and what wins where several say something.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use ordu_supervisor::core::Bounds;
use ordu_supervisor::core::checkpoint::{COPIES, COPIES_MAX};
use ordu_supervisor::core::quorum::{QUORUM_MAX, TIME_MAX};
use ordu_supervisor::core::{Partition, Quorum};
use ordu_transport::core::NodeName;

use super::settings::{Settings, begin_at};
use super::{parse_address, parse_id, read_token};
use crate::data::{DataChoice, default_directory};
use crate::dev;
use crate::failure::Failure;
use crate::node::{self, LogFormat, NodeConfig};
use crate::text::{parse_duration, parse_pair};
use crate::wish::check_labels;

/// The greatest share of children.
const WEIGHT_MAX: i64 = 1_000;
/// Most members that a node waits for.
const EXPECT_MAX: i64 = 1_000;
/// Most children that a node or a cluster may be told to take.
const CHILDREN_MAX: i64 = 10_000_000;
/// Most nodes of a `dev` cluster.
const DEV_NODES_MAX: u16 = 50;

/// Every flag has a variable `ORDU_UP_…` and a name in the file of --config; a flag wins over its variable, and that over
/// the file
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
    /// A TOML file with these settings, by the names of the flags; its relative paths begin where it is
    #[arg(long, env = "ORDU_UP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A pair that describes the node; children may ask for it (`ordu start --require`)
    #[arg(long, env = "ORDU_UP_LABEL", value_name = "K=V", value_delimiter = ',', value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// The node's share of children, relative to the others'; 0 for none
    #[arg(long, env = "ORDU_UP_WEIGHT", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(..=WEIGHT_MAX))]
    weight: u32,
    /// Hold so many children at once; a node that does takes no more and keeps those that it has [default: no bound]
    #[arg(long, env = "ORDU_UP_MAX_CHILDREN", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=CHILDREN_MAX))]
    max_children: Option<u32>,
    /// Refuse starts while so many children should run in the cluster, as far as this node knows; give it to every node
    /// [default: no bound]
    #[arg(long, env = "ORDU_UP_MAX_CLUSTER_CHILDREN", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=CHILDREN_MAX))]
    max_cluster_children: Option<u32>,
    /// Take no child until this many members were seen, this one included [default: 1]
    #[arg(long, env = "ORDU_UP_EXPECT", value_name = "N", default_value_t = 1, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(1..=EXPECT_MAX))]
    expect: u32,
    /// How long to wait for them
    #[arg(long, env = "ORDU_UP_EXPECT_TIMEOUT", value_name = "D", default_value = "1m", value_parser = parse_duration)]
    expect_timeout: Duration,
    /// What to do when cut off: keep-running; or quorum:Q, run children only while Q members answer, out of 2Q - 1 at most.
    /// The same on every node
    #[arg(long, env = "ORDU_UP_PARTITION", value_name = "POLICY", default_value = "keep-running")]
    partition: String,
    /// With quorum:Q: how long children run on when the quorum is lost. The same on every node
    #[arg(long, env = "ORDU_UP_QUORUM_GRACE", value_name = "D", default_value = "3s", value_parser = parse_duration)]
    quorum_grace: Duration,
    /// With quorum:Q: the longest time that a child may take to stop. The same on every node
    #[arg(long, env = "ORDU_UP_QUORUM_STOP_TIMEOUT", value_name = "D", default_value = "10s", value_parser = parse_duration)]
    quorum_stop_timeout: Duration,
    /// How many other nodes keep what children of this one say by ORDU_CHECKPOINT_FILE, 0 to 7
    #[arg(long, env = "ORDU_UP_CHECKPOINT_COPIES", value_name = "N", default_value_t = COPIES as u64,
          value_parser = clap::value_parser!(u64).range(..=COPIES_MAX as u64))]
    checkpoint_copies: u64,
    /// When to give away children that run: active, whenever they belong elsewhere; passive, when the node drains
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
        let config = self.configure(given).map_err(|failure| failure.context("up"))?;
        node::run(config).map_err(|failure| failure.context("up"))
    }

    fn configure(mut self, given: Option<&ArgMatches>) -> Result<NodeConfig, Failure> {
        let named = match self.config.take() {
            None => Vec::new(),
            Some(path) => {
                let Settings { up, named } = Settings::read(&path)?;
                self.take(up, |key| named.iter().any(|name| name == key) && Source::of(given, key) == Source::Default);
                named
            }
        };
        let source = |key: &str| match Source::of(given, key) {
            Source::Default if named.iter().any(|name| name == key) => Source::File,
            source => source,
        };
        let (data_dir, ephemeral) = (source("data-dir"), source("ephemeral"));
        self.check(data_dir, ephemeral)
    }

    /// Takes over those settings of a file that it says and that nothing else does.
    fn take(&mut self, file: Up, is_taken: impl Fn(&str) -> bool) {
        macro_rules! take {
            ($($key:literal => $field:ident),* $(,)?) => {
                $(if is_taken($key) { self.$field = file.$field; })*
            };
        }
        take!(
            "name" => name,
            "cluster" => cluster,
            "listen" => listen,
            "advertise" => advertise,
            "http" => http,
            "http-token-file" => http_token_file,
            "join" => join,
            "tls-dir" => tls_dir,
            "data-dir" => data_dir,
            "ephemeral" => ephemeral,
            "label" => label,
            "weight" => weight,
            "max-children" => max_children,
            "max-cluster-children" => max_cluster_children,
            "expect" => expect,
            "expect-timeout" => expect_timeout,
            "partition" => partition,
            "quorum-grace" => quorum_grace,
            "quorum-stop-timeout" => quorum_stop_timeout,
            "checkpoint-copies" => checkpoint_copies,
            "redistribution" => redistribution,
            "drain-timeout" => drain_timeout,
            "keep-done" => keep_done,
            "log-format" => log_format,
        );
    }

    /// Lets relative paths begin at a directory.
    pub(super) fn begin_paths_at(&mut self, directory: &Path) {
        for path in [&mut self.http_token_file, &mut self.tls_dir, &mut self.data_dir] {
            begin_at(directory, path);
        }
    }

    fn check(self, data_dir: Source, ephemeral: Source) -> Result<NodeConfig, Failure> {
        let partition = self.partition()?;
        if !["active", "passive"].contains(&&*self.redistribution) {
            return Err(Failure::usage(format!(
                "--redistribution: {:?} is not active or passive",
                self.redistribution
            )));
        }
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
        let labels: BTreeMap<String, String> = self.label.into_iter().collect();
        check_labels("--label", &labels).map_err(Failure::usage)?;
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
            (Some(path), true) if data_dir > ephemeral => DataChoice::Directory(path),
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
            labels,
            weight: self.weight,
            bounds: Bounds { node: self.max_children, cluster: self.max_cluster_children },
            passive: self.redistribution == "passive",
            expect: (self.expect as usize, self.expect_timeout),
            partition,
            drain_timeout: self.drain_timeout,
            keep_done: self.keep_done,
            checkpoint_copies: usize::try_from(self.checkpoint_copies).unwrap_or(COPIES),
            log_format: self.log_format,
        })
    }

    fn partition(&self) -> Result<Partition, Failure> {
        let Some(members) = self.partition.strip_prefix("quorum:") else {
            return match &*self.partition {
                "keep-running" => Ok(Partition::KeepRunning),
                other => Err(Failure::usage(format!("--partition: {other:?} is not keep-running or quorum:Q"))),
            };
        };
        let members = members.parse().ok().filter(|members| (2..=QUORUM_MAX).contains(members)).ok_or_else(|| {
            Failure::usage(format!("--partition quorum:Q: Q is {members:?}, not a number from 2 to {QUORUM_MAX}"))
        })?;
        let (grace, stop_max) = (self.quorum_grace, self.quorum_stop_timeout);
        for (flag, time) in [("--quorum-grace", grace), ("--quorum-stop-timeout", stop_max)] {
            if time > TIME_MAX {
                return Err(Failure::usage(format!("{flag}: {time:?} is longer than {TIME_MAX:?}")));
            }
        }
        Ok(Partition::Quorum(Quorum { grace, stop_max, ..Quorum::of(members) }))
    }
}

/// Who says what a setting is; a later one wins over an earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Default,
    File,
    Variable,
    Flag,
}

impl Source {
    fn of(given: Option<&ArgMatches>, key: &str) -> Source {
        match given.and_then(|given| given.value_source(&key.replace('-', "_"))) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Variable,
            // Clap may come to know of others; none of ours is there.
            Some(_) | None => Source::Default,
        }
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
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;
    use crate::failure::USAGE;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        up: Up,
    }

    fn config(line: &str) -> Result<NodeConfig, Failure> {
        let arguments = std::iter::once("up").chain(line.split_whitespace());
        let given = Only::command().try_get_matches_from(arguments);
        let given = given.map_err(|error| Failure::usage(error.to_string()))?;
        Only::from_arg_matches(&given).unwrap().up.configure(Some(&given))
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
    fn nonsense_is_refused() {
        for (line, expected) in [
            ("--partition quorum:1", "from 2 to 16"),
            ("--partition quorum:many", "from 2 to 16"),
            ("--partition quorum:2 --quorum-grace 2h", "--quorum-grace"),
            ("--expect 0", "0 is not in 1..=1000"),
            ("--expect many", "invalid digit"),
            ("--label a", "K=V"),
            ("--label a\u{1}=b", "--label"),
            ("--weight many", "invalid digit"),
            ("--config /no/such.toml", "/no/such.toml"),
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
    fn a_flag_wins_over_a_variable_and_that_over_the_file() {
        let both = || Only::try_parse_from(["up", "--name", "n1", "--data-dir", "/x", "--ephemeral"]).unwrap().up;
        let directory = Ok(DataChoice::Directory("/x".into()));
        let choice = |data_dir, ephemeral| both().check(data_dir, ephemeral).map(|config| config.data);
        for (lower, higher) in [(Source::Variable, Source::Flag), (Source::File, Source::Variable)] {
            assert_eq!(choice(lower, higher), Ok(DataChoice::Ephemeral));
            assert_eq!(choice(higher, lower), directory);
            assert!(choice(higher, higher).is_err());
        }
    }

    #[test]
    fn a_file_may_say_all_that_flags_do() {
        let asked = std::cell::RefCell::new(Vec::new());
        let up = || Only::try_parse_from(["up"]).unwrap().up;
        up().take(up(), |key| {
            asked.borrow_mut().push(key.to_owned());
            true
        });
        let command = Only::command();
        let flags = command.get_arguments().filter_map(|flag| flag.get_long());
        let mut flags: Vec<_> = flags.filter(|flag| !matches!(*flag, "config" | "help")).collect();
        let mut asked = asked.into_inner();
        flags.sort_unstable();
        asked.sort_unstable();
        assert_eq!(asked, flags);
    }

    #[test]
    fn a_file_says_what_no_flag_does() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.toml");
        let text = r#"
            name = "n2"
            cluster = "shop"
            listen = "127.0.0.1:7001"
            http = "127.0.0.1:7002"
            join = ["a:1", "b:2"]
            tls-dir = "tls"
            data-dir = "/var/lib/ordu"
            drain-timeout = "5s"
            keep-done = "2m"
            expect = 3
            expect-timeout = "5m"
            max-children = 500
            max-cluster-children = 1200
            log-format = "json"
        "#;
        std::fs::write(&file, text).unwrap();
        let line = format!("--config {} --http 127.0.0.1:7003 --join c:3", file.display());
        let config = config(&line).unwrap();
        assert_eq!((config.name.as_str(), config.cluster.as_str()), ("n2", "shop"));
        assert_eq!((config.listen.port(), config.http.port()), (7001, 7003));
        assert_eq!((config.join, config.tls_dir), (vec!["c:3".to_owned()], Some(directory.path().join("tls"))));
        assert_eq!(config.data, DataChoice::Directory("/var/lib/ordu".into()));
        assert_eq!((config.drain_timeout, config.keep_done), (Duration::from_secs(5), Duration::from_secs(120)));
        assert_eq!((config.expect, config.log_format), ((3, Duration::from_secs(300)), LogFormat::Json));
        assert_eq!(config.bounds, Bounds { node: Some(500), cluster: Some(1200) });
        let config = self::config(&format!("--config {} --ephemeral", file.display())).unwrap();
        assert_eq!((config.data, config.http.port()), (DataChoice::Ephemeral, 7002));
        assert_eq!(config.join, ["a:1", "b:2"]);
        for (text, expected) in [
            ("expect = 0", "0 is not in 1..=1000"),
            ("max-children = 0", "0 is not in 1..=10000000"),
            ("ephemeral = true\ndata-dir = \"x\"", "exclude"),
        ] {
            std::fs::write(&file, format!("name = \"n2\"\n{text}\n")).unwrap();
            let failure = self::config(&format!("--config {}", file.display())).unwrap_err();
            assert!(failure.message.contains(expected), "{text}: {failure}");
        }
    }
}
