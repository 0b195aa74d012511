//! The text format of Prometheus, version 0.0.4: families of samples, each with its help and its type.

use std::fmt::{Display, Write};

/// A text that grows by families.
#[derive(Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// A family of this type: `counter`, `gauge` or `histogram`. Its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A sample; of the values of labels, what would end them is escaped.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            self.write(format_args!("{label}=\"{}\"", escaped(text)));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    /// A family of one sample without labels.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a text takes whatever is written to it");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_below_their_family_with_their_labels() {
        let mut text = Exposition::default();
        text.family("a_total", "counter", "What a is.");
        text.sample("a_total", &[("x", "1"), ("y", "q\"\\\n")], 7);
        text.single("b", "gauge", "What b is.", 0.5);
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"\\\\\\n\"} 7\n\
                        # HELP b What b is.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(text.into_text(), expected);
    }
}
