//! An image (AMI), as EC2 describes it: one that a box starts from, or one that was taken of a box. Read, never changed
//! here.
//!
//! An image of a box is told by its name: that of the box and when it was taken, as CGCloud writes it, so that both see
//! the same images. An image under such a name that somebody else owns is never looked at.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_sdk_ec2::types;
use fleetkey_common::aws_names::AbsoluteName;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::instance::GENERATION_TAG;
use crate::refusal::Refusal;
use crate::selection::parse_id;

/// How the moment is written in the name of an image, in UTC.
const MOMENT: &str = "%Y-%m-%d_%H-%M-%S";

/// What stands between the name of a box and the moment, before both become a name in AWS.
const SEPARATOR: char = '_';

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// `ami-...`
    pub(crate) id: String,
    /// Its name in AWS, whatever it is.
    pub(crate) name: String,
    /// `available`, `pending`, `failed` and so on.
    pub(crate) state: String,
    /// `x86_64` or `arm64`, mostly.
    pub(crate) architecture: String,
    /// The instance that it was taken of, if EC2 says so.
    pub(crate) source: Option<String>,
    /// When it was made, if EC2 says so.
    pub(crate) made: Option<Timestamp>,
    /// The device name of its root volume, such as `/dev/xvda`.
    pub(crate) root_device: String,
    /// Its volumes that come from snapshots, the root volume among them.
    pub(crate) volumes: Vec<ImageVolume>,
    /// All its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

/// A volume that a box of the image gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageVolume {
    /// The device name.
    pub(crate) device: String,
    /// The snapshot that it is made from: `snap-...`
    pub(crate) snapshot: String,
    /// Its size in GiB.
    pub(crate) gib: u32,
}

impl Image {
    /// Reads EC2's description.
    pub(crate) fn read(described: types::Image) -> Option<Self> {
        let tags = described.tags.unwrap_or_default().into_iter();
        let mappings = described.block_device_mappings.unwrap_or_default().into_iter();
        Some(Self {
            id: described.image_id?,
            name: described.name.unwrap_or_default(),
            state: described.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            architecture: described.architecture.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            source: described.source_instance_id,
            made: described.creation_date.and_then(|text| text.parse().ok()),
            root_device: described.root_device_name.unwrap_or_default(),
            volumes: mappings.filter_map(volume).collect(),
            tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
        })
    }

    /// The size of its root volume in GiB, if that comes from a snapshot.
    pub(crate) fn root_gib(&self) -> Option<u32> {
        self.volumes.iter().find(|volume| volume.device == self.root_device).map(|volume| volume.gib)
    }

    /// The box that it was taken of and when, by its name; `None` if it is no image of a box.
    pub(crate) fn taken(&self) -> Option<(AbsoluteName, Timestamp)> {
        let name = AbsoluteName::from_aws_name(&self.name).ok()?;
        // Moments are of one length, so that a name with `_` in it is cut at the right place.
        let (of, moment) = name.as_str().split_at_checked(name.as_str().len().checked_sub(19)?)?;
        let moment = DateTime::strptime(MOMENT, moment).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some((of.strip_suffix(SEPARATOR)?.parse().ok()?, moment))
    }

    /// How many images lie between a box of it and the role's base image; 0 for an image of nobody's.
    pub(crate) fn generation(&self) -> u32 {
        self.tags.get(GENERATION_TAG).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

fn volume(mapping: types::BlockDeviceMapping) -> Option<ImageVolume> {
    let ebs = mapping.ebs?;
    let gib = ebs.volume_size.and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0);
    Some(ImageVolume { device: mapping.device_name?, snapshot: ebs.snapshot_id?, gib })
}

/// The name in AWS of an image that is taken of a box now.
pub(crate) fn name_of(of: &AbsoluteName, now: Timestamp) -> String {
    // The underscores of the moment are doubled, as all in a name are.
    prefix(of) + &now.strftime(MOMENT).to_string().replace('_', "__")
}

/// With what the names in AWS of all images of a box begin.
pub(crate) fn prefix(of: &AbsoluteName) -> String {
    of.to_aws_name() + "__"
}

/// The order in which ordinals count: by when they were taken, then id.
pub(crate) fn sort(images: &mut [Image]) {
    let key = |image: &Image| (image.taken().map(|(_, moment)| moment), image.id.clone());
    images.sort_by_key(key);
}

/// Which image of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageChoice {
    /// The how-manieth, from 0 in the order in which they were taken; negative from the newest.
    Ordinal(i64),
    /// The one with this id.
    Id(String),
}

impl FromStr for ImageChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(ordinal) => Ok(Self::Ordinal(ordinal)),
            Err(_) => parse_image_id(text).map(Self::Id).map_err(|error| format!("give an ordinal or an id; {error}")),
        }
    }
}

/// Takes `ami-` and 8 or 17 hexadecimal digits: both lengths exist.
pub(crate) fn parse_image_id(text: &str) -> Result<String, String> {
    let id = parse_id("ami-", &text.to_ascii_lowercase());
    id.ok_or_else(|| "an image id is ami- and 8 or 17 hexadecimal digits".to_owned())
}

/// Picks one of the images of a role, which are sorted.
pub(crate) fn choose(images: Vec<Image>, choice: &ImageChoice, role: &AbsoluteName) -> Result<Image, Refusal> {
    let count = images.len();
    let listed = format!("fleetkey list-images {role} shows the images that there are");
    if count == 0 {
        return Err(Refusal::new(format!("there is no image of {role}"))
            .hint("fleetkey image takes one of a box that is stopped; --namespace and --region say where to look"));
    }
    match choice {
        ImageChoice::Id(id) => images
            .into_iter()
            .find(|image| image.id == *id)
            .ok_or_else(|| Refusal::new(format!("{id} is no image of {role} of yours")).hint(listed)),
        ImageChoice::Ordinal(ordinal) => {
            let place = if *ordinal < 0 { i64::try_from(count).unwrap_or(i64::MAX) + ordinal } else { *ordinal };
            let found = usize::try_from(place).ok().and_then(|place| images.into_iter().nth(place));
            found.ok_or_else(|| {
                Refusal::new(format!("no image of {role} has ordinal {ordinal}"))
                    .hint(format!("ordinals run from 0 to {}, or from -1 back to -{count}", count - 1))
                    .hint(listed)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, name: &str) -> Image {
        Image::read(types::Image::builder().image_id(id).name(name).build()).unwrap()
    }

    fn name(text: &str) -> AbsoluteName {
        text.parse().unwrap()
    }

    #[test]
    fn an_image_of_a_box_is_told_by_its_name_as_cgcloud_writes_it() {
        let moment: Timestamp = "2026-11-21T04:05:06Z".parse().unwrap();
        for of in ["/prod/web", "/web_1", "/a_b/c_"] {
            let image = image("ami-1", &name_of(&name(of), moment));
            assert_eq!(image.taken(), Some((name(of), moment)), "{}", image.name);
            assert!(image.name.starts_with(&prefix(&name(of))));
        }
        assert_eq!(name_of(&name("/prod/web"), moment), "prod_web__2026-11-21__04-05-06");
        for other in ["", "web", "debian-12-amd64-20260101-1", "prod_web__2026-11-21__04-05-6x", "2026-11-21__04-05-06"]
        {
            assert_eq!(image("ami-1", other).taken(), None, "{other}");
        }
    }

    #[test]
    fn fault_10_image_ids_of_both_lengths_are_taken_and_nothing_else() {
        assert_eq!("ami-4dCCED7D".parse(), Ok(ImageChoice::Id("ami-4dcced7d".into())));
        assert_eq!("ami-0123456789abcdef0".parse(), Ok(ImageChoice::Id("ami-0123456789abcdef0".into())));
        assert_eq!("-1".parse(), Ok(ImageChoice::Ordinal(-1)));
        for bad in ["", "bar", "ami-", "ami-4dcced7", "ami-4dcced7d0", "ami-0123456789abcdeg0", "i-4dcced7d"] {
            assert!(bad.parse::<ImageChoice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_ordinal_counts_from_the_oldest_image_or_back_from_the_newest() {
        let images = || {
            let mut images = vec![
                image("ami-2", "web__2026-02-01__00-00-00"),
                image("ami-3", "web__2026-03-01__00-00-00"),
                image("ami-1", "web__2026-01-01__00-00-00"),
            ];
            sort(&mut images);
            images
        };
        let choose = |choice: &str| {
            let choice =
                if choice.starts_with("ami") { ImageChoice::Id(choice.into()) } else { choice.parse().unwrap() };
            choose(images(), &choice, &name("/web")).map(|image| image.id).map_err(|error| error.to_string())
        };
        for (choice, id) in [("0", "ami-1"), ("2", "ami-3"), ("-1", "ami-3"), ("-3", "ami-1"), ("ami-2", "ami-2")] {
            assert_eq!(choose(choice).as_deref(), Ok(id));
        }
        for (choice, error) in [
            ("3", "no image of /web has ordinal 3"),
            ("-4", "no image of /web has ordinal -4"),
            ("ami-9", "ami-9 is no image of /web of yours"),
        ] {
            assert_eq!(choose(choice).unwrap_err(), error);
        }
        let none = super::choose(Vec::new(), &ImageChoice::Ordinal(-1), &name("/web"));
        assert_eq!(none.unwrap_err().to_string(), "there is no image of /web");
    }
}
