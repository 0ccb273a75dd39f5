//! What AWS answers page by page, for stand-ins: moto has no pages here.

use std::fmt::Write as _;

use fleetkey_tests::stub::{Answer, Request};

/// Users in a page of a group, and objects in a page of a bucket.
const GROUP_PAGE: usize = 100;
const BUCKET_PAGE: usize = 1000;

/// An answer in XML.
pub(super) fn xml(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer::new(status, "text/xml", body)
}

/// IAM's answer to GetGroup for a group of `size` users, in pages.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetGroup.html>
pub(super) fn group_page(request: &Request, size: usize) -> String {
    let start: usize = request.field("Marker").map_or(0, |marker| marker.parse().unwrap());
    let end = size.min(start + GROUP_PAGE);
    let mut users = String::new();
    for at in start..end {
        write!(
            users,
            "<member><Path>/</Path><UserName>user{at}</UserName><UserId>AIDA{at}</UserId>\
             <Arn>arn:aws:iam::123456789012:user/user{at}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></member>"
        )
        .unwrap();
    }
    let rest = if end < size {
        format!("<IsTruncated>true</IsTruncated><Marker>{end}</Marker>")
    } else {
        "<IsTruncated>false</IsTruncated>".to_owned()
    };
    format!(
        "<GetGroupResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetGroupResult><Group><Path>/</Path>\
         <GroupName>g</GroupName><GroupId>AGPA</GroupId><Arn>arn:aws:iam::123456789012:group/g</Arn>\
         <CreateDate>2026-01-01T00:00:00Z</CreateDate></Group><Users>{users}</Users>{rest}</GetGroupResult>\
         </GetGroupResponse>"
    )
}

/// S3's answer to ListObjectsV2 for a bucket of `size` persons with one object each, too large to be fetched; and EC2's
/// to DescribeKeyPairs, that there are none.
pub(super) fn bucket_page(request: &Request, size: usize) -> String {
    if request.target() == "/" {
        return "<DescribeKeyPairsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><keySet/>\
                </DescribeKeyPairsResponse>"
            .to_owned();
    }
    let start: usize = request.field("continuation-token").map_or(0, |token| token.parse().unwrap());
    let end = size.min(start + BUCKET_PAGE);
    let by_folder = request.field("delimiter").is_some();
    let mut entries = String::new();
    for at in start..end {
        if by_folder {
            write!(entries, "<CommonPrefixes><Prefix>people/person{at}/</Prefix></CommonPrefixes>").unwrap();
        } else {
            write!(
                entries,
                "<Contents><Key>people/person{at}/laptop.pub</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>&quot;00&quot;</ETag><Size>99999</Size></Contents>"
            )
            .unwrap();
        }
    }
    let next = if end < size { format!("<NextContinuationToken>{end}</NextContinuationToken>") } else { String::new() };
    format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>{}</KeyCount>\
         <IsTruncated>{}</IsTruncated>{next}{entries}</ListBucketResult>",
        end - start,
        end < size
    )
}
