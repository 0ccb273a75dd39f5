//! The command line that is being typed, as far as completing the word at hand depends on the other words. Pure.

use crate::settings::PlaceFlags;

/// The words so far, the word at hand among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    words: Vec<String>,
}

/// The flags that say where things are, with their short forms: the value of each is the word behind it.
const PLACES: [(&str, &str); 4] = [("--profile", ""), ("--region", ""), ("--zone", "-z"), ("--namespace", "-n")];

impl Line {
    /// The line that a shell hands over: behind the first `--`, the program and its words.
    pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Self {
        Self { words: arguments.into_iter().skip_while(|word| word != "--").skip(2).collect() }
    }

    /// What a flag was given.
    fn value(&self, long: &str, short: &str) -> Option<String> {
        let mut words = self.words.iter();
        let mut found = None;
        while let Some(word) = words.next() {
            if word == long || (!short.is_empty() && word == short) {
                // bash makes three words of --flag=value.
                found = words.next().filter(|word| *word != "=").or_else(|| words.next()).cloned();
            } else if let Some(value) = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')) {
                found = Some(value.to_owned());
            }
        }
        found.filter(|value| !value.is_empty())
    }

    /// The flags that say where things are.
    pub(crate) fn places(&self) -> PlaceFlags {
        let [profile, region, zone, namespace] = PLACES.map(|(long, short)| self.value(long, short));
        PlaceFlags { profile, region, zone, namespace, ..PlaceFlags::default() }
    }

    /// The same as words of another command line.
    pub(crate) fn place_words(&self) -> Vec<String> {
        let given = PLACES.iter().filter_map(|(long, short)| Some(format!("{long}={}", self.value(long, short)?)));
        given.collect()
    }

    /// The first word that is one of these.
    pub(crate) fn first_of<'a>(&self, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let known: Vec<&str> = known.collect();
        self.words.iter().find_map(|word| known.iter().copied().find(|name| name == word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::read(text.split(' ').map(str::to_owned))
    }

    #[test]
    fn flags_of_the_line_say_where_its_boxes_are() {
        let typed = line("fleetkey -- fleetkey --region=eu-west-1 ssh -n /prod/ --profile p web -I i-");
        let places = typed.places();
        assert_eq!(
            (places.region.as_deref(), places.namespace.as_deref(), places.profile.as_deref(), places.zone),
            (Some("eu-west-1"), Some("/prod/"), Some("p"), None)
        );
        assert_eq!(typed.place_words(), ["--profile=p", "--region=eu-west-1", "--namespace=/prod/"]);
        assert_eq!(typed.first_of(["db", "web"].into_iter()), Some("web"));
        assert_eq!(typed.first_of(["db"].into_iter()), None);
    }

    #[test]
    fn a_flag_whose_value_is_not_typed_yet_counts_for_nothing() {
        assert_eq!(line("fleetkey -- fleetkey list --region").places().region, None);
        assert_eq!(line("fleetkey -- fleetkey list -z ").places().zone, None);
        assert_eq!(line("fleetkey -- fleetkey list --zone = us-west-2a").places().zone.unwrap(), "us-west-2a");
        assert_eq!(line("fleetkey"), Line::default());
    }
}
