//! The members of an object, taken one by one.

use gdn_types::{Error, Result};
use serde_json::{Map, Value};

use super::lenient;

/// The members of an object that were not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    members: Map<String, Value>,
}

impl Fields {
    /// The object that a body begins with; `null` is an empty one.
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        Fields::of(first_document(body)?, "the request's body")
    }

    fn of(value: Value, what: &str) -> Result<Self> {
        match value {
            Value::Object(members) => Ok(Fields { members }),
            Value::Null => Ok(Fields::default()),
            other => Err(wrong(what, &other, "an object")),
        }
    }

    /// Takes a member, by its name or else by its name in another case; `null` is none.
    fn take(&mut self, name: &str) -> Option<Value> {
        let value = match self.members.remove(name) {
            Some(value) => value,
            None => {
                let named = |key: &&String| key.eq_ignore_ascii_case(name);
                let key = self.members.keys().find(named)?.clone();
                self.members.remove(&key)?
            }
        };
        (!value.is_null()).then_some(value)
    }

    /// A text; empty when absent.
    pub(crate) fn string(&mut self, name: &str) -> Result<String> {
        self.optional_string(name).map(Option::unwrap_or_default)
    }

    pub(crate) fn optional_string(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name).map(|value| string(name, value)).transpose()
    }

    /// A truth; false when absent.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(wrong(name, &other, "true or false")),
        }
    }

    /// A number of the type that is asked for; absent or not there.
    pub(crate) fn optional_number<T: TryFrom<u64>>(&mut self, name: &str) -> Result<Option<T>> {
        self.take(name).map(|value| number(name, &value)).transpose()
    }

    /// A number of the type that is asked for; 0 when absent.
    pub(crate) fn number<T: TryFrom<u64> + Default>(&mut self, name: &str) -> Result<T> {
        self.optional_number(name).map(Option::unwrap_or_default)
    }

    /// An object; absent or not there.
    pub(crate) fn optional_object(&mut self, name: &str) -> Result<Option<Fields>> {
        self.take(name).map(|value| Fields::of(value, name)).transpose()
    }

    /// An object; empty when absent.
    pub(crate) fn object(&mut self, name: &str) -> Result<Fields> {
        self.optional_object(name).map(Option::unwrap_or_default)
    }

    /// A list of objects; empty when absent.
    pub(crate) fn objects<T>(&mut self, name: &str, parse: impl Fn(Fields) -> Result<T>) -> Result<Vec<T>> {
        list(name, self.take(name))?.into_iter().map(|value| parse(Fields::of(value, name)?)).collect()
    }

    /// A list of texts; empty when absent.
    pub(crate) fn strings(&mut self, name: &str) -> Result<Vec<String>> {
        list(name, self.take(name))?.into_iter().map(|value| string(name, value)).collect()
    }

    /// An object of texts, whose names are the client's own.
    pub(crate) fn map(&mut self, name: &str) -> Result<Vec<(String, String)>> {
        let members = self.object(name)?.members;
        members.into_iter().map(|(key, value)| string(name, value).map(|value| (key, value))).collect()
    }
}

/// The most values of a document: each costs many times its two bytes. Ten thousand rules have a fifth of it.
const MAX_VALUES: usize = 500_000;

/// The document that a body begins with.
pub(super) fn first_document(body: &[u8]) -> Result<Value> {
    if body.len() > MAX_VALUES && values(body) > MAX_VALUES {
        return Err(Error::invalid(format!("the request's body has more than {MAX_VALUES} values")));
    }
    let parsed = match parse(body) {
        Some(Err(error)) if error.is_syntax() => match lenient::mended(body) {
            Some(text) => parse(text.as_bytes()),
            None => Some(Err(error)),
        },
        parsed => parsed,
    };
    match parsed {
        None => Err(Error::invalid("EOF")),
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) if error.is_eof() => Err(Error::invalid("unexpected EOF")),
        // The position only: the text around it may be a secret.
        Some(Err(error)) => Err(Error::invalid(format!(
            "the request's body is no JSON at line {} column {}",
            error.line(),
            error.column()
        ))),
    }
}

fn parse(body: &[u8]) -> Option<serde_json::Result<Value>> {
    serde_json::Deserializer::from_slice(body).into_iter().next()
}

/// How many values a document has at most: one, and one more for each comma, colon and bracket outside of texts.
fn values(body: &[u8]) -> usize {
    let (mut number, mut within, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => within = !within,
            b',' | b':' | b'[' | b'{' if !within => number += 1,
            _ => {}
        }
    }
    number
}

/// The objects of a body that is a list.
pub(super) fn list_of_objects(body: &[u8]) -> Result<Vec<Fields>> {
    let list = list("the request's body", Some(first_document(body)?).filter(|value| !value.is_null()))?;
    list.into_iter().map(|value| Fields::of(value, "the request's body")).collect()
}

fn list(name: &str, value: Option<Value>) -> Result<Vec<Value>> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list),
        Some(other) => Err(wrong(name, &other, "a list")),
    }
}

fn string(name: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        // In a list or a map, where it stands for the zero value.
        Value::Null => Ok(String::new()),
        other => Err(wrong(name, &other, "a string")),
    }
}

pub(super) fn number<T: TryFrom<u64>>(name: &str, value: &Value) -> Result<T> {
    let number = value.as_u64().ok_or_else(|| wrong(name, value, "a whole number of 0 or more"))?;
    T::try_from(number).map_err(|_| Error::invalid(format!("{name} {number} is too large")))
}

fn wrong(name: &str, value: &Value, wanted: &str) -> Error {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let is = if is == wanted || value.is_number() { "another number" } else { is };
    Error::invalid(format!("{name} is {is}, not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_in_any_case_and_null_is_nothing() {
        let mut fields =
            Fields::parse(br#"{"Handle":"a","handle":"b","GRACE_TIME":7,"env":null,"other":{}}"#).unwrap();
        assert_eq!(fields.string("handle").unwrap(), "b");
        assert_eq!(fields.number::<u64>("grace_time").unwrap(), 7);
        assert!(fields.strings("env").unwrap().is_empty());
        assert!(Fields::parse(b"null").unwrap().take("x").is_none());
    }

    #[test]
    fn what_is_no_document_is_told_as_go_tells_it() {
        for (body, message) in
            [("", "EOF"), (" \n", "EOF"), ("{", "unexpected EOF"), ("{\"a\":", "unexpected EOF")]
        {
            assert_eq!(Fields::parse(body.as_bytes()).unwrap_err().message(), message, "{body:?}");
        }
        let error = Fields::parse(b"{\"password\":\"hunter2\" x}").unwrap_err();
        assert!(!error.message().contains("hunter2") && error.message().contains("line 1"), "{error}");
        Fields::parse(b"{} trailing").unwrap();
    }

    #[test]
    fn values_of_another_kind_are_refused_by_name_and_not_shown() {
        let mut fields =
            Fields::parse(br#"{"a":"hunter2","b":-1,"c":70000,"d":1.5,"e":[1],"f":{}}"#).unwrap();
        let message = fields.optional_object("a").unwrap_err().message().to_owned();
        assert_eq!(message, "a is a string, not an object");
        for name in ["b", "d"] {
            assert!(fields.number::<u64>(name).unwrap_err().message().contains("whole number"));
        }
        assert_eq!(fields.number::<u16>("c").unwrap_err().message(), "c 70000 is too large");
        assert!(fields.strings("e").is_err() && fields.boolean("f").is_err());
    }

    #[test]
    fn text_that_is_no_text_is_read_as_go_reads_it() {
        for (body, expected) in
            [(&b"{\"a\":\"x\xffy\"}"[..], "x\u{fffd}y"), (br#"{"a":"\ud800z"}"#, "\u{fffd}z")]
        {
            assert_eq!(Fields::parse(body).unwrap().string("a").unwrap(), expected);
        }
        Fields::parse(b"{\xff}").unwrap_err();
    }

    #[test]
    fn a_document_of_too_many_values_is_refused_before_it_is_read() {
        let many =
            |number: usize, value: &str| format!("[{value}0]", value = value.repeat(number)).into_bytes();
        assert!(first_document(&many(MAX_VALUES, "0,")).unwrap_err().message().contains("values"));
        first_document(&many(MAX_VALUES / 4, "0, ")).unwrap();
        let text = format!("\"{}\"", ",:\\\"".repeat(MAX_VALUES));
        first_document(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_document_that_nests_without_end_is_refused() {
        assert!(Fields::parse(&b"[".repeat(100_000)).is_err());
    }
}
