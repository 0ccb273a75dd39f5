//! moto's answers for EC2, as far as the front looks into them: lists of `<item>`s, and values in them.
//!
//! What moto writes is regular: no attributes, comments or self-made prefixes in what is looked for.

/// The text of the first element of this name.
pub(super) fn text<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// The same answer with another text in the first element of this name.
pub(super) fn with_text(xml: &str, name: &str, text: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let Some(start) = xml.find(&open).map(|at| at + open.len()) else { return xml.to_owned() };
    let Some(end) = xml[start..].find(&close).map(|at| at + start) else { return xml.to_owned() };
    format!("{}{text}{}", &xml[..start], &xml[end..])
}

/// The same answer with each item of the list of this name as `change` makes it; `None` takes the item out.
pub(super) fn with_items(xml: &str, list: &str, mut change: impl FnMut(&str) -> Option<String>) -> String {
    let (open, close) = (format!("<{list}>"), format!("</{list}>"));
    let Some(start) = xml.find(&open).map(|at| at + open.len()) else { return xml.to_owned() };
    let Some(end) = xml.rfind(&close).filter(|&end| end >= start) else { return xml.to_owned() };
    let mut changed = xml[..start].to_owned();
    let mut rest = &xml[start..end];
    while let Some(length) = item_length(rest) {
        let (item, after) = rest.split_at(length);
        changed.extend(change(item));
        rest = after;
    }
    changed.push_str(&xml[end..]);
    changed
}

/// The length of what the text begins with, up to the end of the first item, which may hold items.
fn item_length(text: &str) -> Option<usize> {
    const OPEN: &str = "<item>";
    const CLOSE: &str = "</item>";
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let close = text[at..].find(CLOSE)?;
        if let Some(open) = text[at..].find(OPEN).filter(|&open| open < close) {
            depth += 1;
            at += open + OPEN.len();
            continue;
        }
        depth = depth.checked_sub(1)?;
        at += close + CLOSE.len();
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_with_items_in_them_are_told_apart() {
        let xml =
            "<a><set><item><id>1</id><tags><item>x</item></tags></item> <item><id>2</id></item></set><b>3</b></a>";
        let mut seen = Vec::new();
        let without = with_items(xml, "set", |item| {
            seen.push(text(item, "id").unwrap_or_default().to_owned());
            (seen.len() > 1).then(|| with_text(item, "id", "9"))
        });
        assert_eq!(seen, ["1", "2"]);
        assert_eq!(without, "<a><set> <item><id>9</id></item></set><b>3</b></a>");
    }

    #[test]
    fn an_answer_without_the_list_stays_as_it_is() {
        for xml in ["", "<a/>", "<a><set></set></a>", "<a><set/></a>", "<a><set><item></a>"] {
            assert_eq!(with_items(xml, "set", |_| None), xml);
        }
        assert_eq!(with_text("<a>", "a", "x"), "<a>");
    }
}
