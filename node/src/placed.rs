//! Where a child asks to go by where others are, as people write it.

use ordu_supervisor::core::{Apart, Over, Placement};
use ordu_transport::core::id::validate_name;

use crate::rows::StartRequest;
use crate::wish::LABEL_BYTES_MAX;

/// `placement` for a child that goes where fewest are.
const LEAST_LOADED: &str = "least-loaded";
/// `placement` for one that is spread by the hash alone.
const UNIFORM: &str = "uniform";

/// What a request says of it; `None`: nothing.
///
/// # Errors
/// One sentence that begins with the field that is wrong.
pub(crate) fn asked(request: &StartRequest) -> Result<Option<Placement>, String> {
    let least_loaded = match request.placement.as_deref() {
        None | Some(UNIFORM) => None,
        Some(LEAST_LOADED) => Some(Placement::LeastLoaded),
        Some(other) => return Err(format!("placement: {other:?} is not one of {UNIFORM}, {LEAST_LOADED}")),
    };
    let apart = |field: &str, text: &Option<String>, required: bool| {
        let apart = text.as_deref().map(|text| parse(text, required)).transpose();
        Ok::<_, String>(apart.map_err(|why| format!("{field}: {why}"))?.map(Placement::Apart))
    };
    let asked = [
        (LEAST_LOADED, least_loaded),
        ("apart", apart("apart", &request.apart, true)?),
        ("spread", apart("spread", &request.spread, false)?),
        ("node", request.node.as_ref().map(|_| Placement::Uniform)),
    ];
    let mut asked = asked.into_iter().filter_map(|(field, asked)| Some((field, asked?)));
    match (asked.next(), asked.next()) {
        (Some((one, _)), Some((other, _))) => Err(format!("{one}: not together with {other}")),
        (first, _) => Ok(first.map(|(_, asked)| asked).filter(Placement::chooses)),
    }
}

/// Reads `K=V`, or `K=V@LABEL` to count over all nodes with the same value of that label.
pub(crate) fn parse(text: &str, required: bool) -> Result<Apart, String> {
    let form = || format!("{text:?} is not of the form K=V or K=V@LABEL");
    let (group, over) = text.split_once('@').map_or((text, None), |(group, over)| (group, Some(over)));
    let (key, value) = group.split_once('=').ok_or_else(form)?;
    validate_name(key, true).map_err(|error| format!("{}: {key:?} is not a label's name: {error}", form()))?;
    if value.len() > LABEL_BYTES_MAX || value.contains(char::is_control) {
        return Err(format!("the value of {key} is longer than {LABEL_BYTES_MAX} bytes, or no plain text"));
    }
    let over = match over {
        None => Over::Node,
        Some(label) => {
            validate_name(label, true)
                .map_err(|error| format!("{}: {label:?} is not a label's name: {error}", form()))?;
            Over::Label(label.to_owned())
        }
    };
    Ok(Apart { group: (key.to_owned(), value.to_owned()), over, required })
}

/// Writes it so that [`parse`] reads it.
pub(crate) fn text(apart: &Apart) -> String {
    let (key, value) = &apart.group;
    match &apart.over {
        Over::Node => format!("{key}={value}"),
        Over::Label(label) => format!("{key}={value}@{label}"),
    }
}

/// A placement in one word, and the group that it keeps away from.
pub(crate) fn told(placement: &Placement) -> (&'static str, Option<String>) {
    match placement {
        Placement::Uniform => (UNIFORM, None),
        Placement::Pinned(_) => ("pinned", None),
        Placement::LeastLoaded => (LEAST_LOADED, None),
        Placement::Apart(apart) => (if apart.required { "apart" } else { "spread" }, Some(text(apart))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &str) -> Result<Option<Placement>, String> {
        let json = format!(r#"{{"id":"web","args":{{"cmd":["true"]}}{fields}}}"#);
        asked(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn at_most_one_is_asked_for() {
        assert_eq!(of(""), Ok(None));
        assert_eq!(of(r#","placement":"uniform","node":"n1""#), Ok(None));
        assert_eq!(of(r#","placement":"least-loaded""#), Ok(Some(Placement::LeastLoaded)));
        let group = ("app".to_owned(), "web".to_owned());
        let apart = Apart { group: group.clone(), over: Over::Node, required: true };
        assert_eq!(of(r#","placement":"uniform","apart":"app=web""#), Ok(Some(Placement::Apart(apart))));
        let spread = Apart { group, over: Over::Label("zone".into()), required: false };
        assert_eq!(of(r#","spread":"app=web@zone""#), Ok(Some(Placement::Apart(spread))));
        for (fields, why) in [
            (r#","placement":"best""#, "placement: \"best\" is not one of uniform, least-loaded"),
            (r#","apart":"a=b","spread":"a=b""#, "apart: not together with spread"),
            (r#","placement":"least-loaded","node":"n1""#, "least-loaded: not together with node"),
            (r#","apart":"a=b","node":"n1""#, "apart: not together with node"),
            (r#","apart":"web""#, "apart: \"web\" is not of the form K=V or K=V@LABEL"),
            (r#","spread":"=web""#, "spread: \"=web\" is not of the form K=V or K=V@LABEL: \"\" is not a label's name"),
            (r#","spread":"a=b@""#, "spread: \"a=b@\" is not of the form K=V or K=V@LABEL: \"\" is not a label's name"),
            (r#","spread":"a=b@c d""#, "spread: \"a=b@c d\" is not of the form K=V or K=V@LABEL: \"c d\" is not"),
            (r#","apart":"a=\n""#, "apart: the value of a is longer than 1024 bytes, or no plain text"),
        ] {
            let told = of(fields).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
    }

    #[test]
    fn what_is_told_is_read_again() {
        for known in ["app=web", "app=", "a/b=c=d@zone", "app=web@topology/zone"] {
            assert_eq!(parse(known, true).map(|apart| text(&apart)), Ok(known.to_owned()));
        }
    }
}
