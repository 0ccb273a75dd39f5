//! IAM users and groups.

use anyhow::Result;

use super::Cloud;

impl Cloud {
    /// Makes an IAM user.
    pub async fn create_user(&self, name: &str) -> Result<()> {
        self.iam.create_user().user_name(name).send().await?;
        Ok(())
    }

    /// Deletes an IAM user, who must be in no group and have no keys.
    pub async fn delete_user(&self, name: &str) -> Result<()> {
        self.iam.delete_user().user_name(name).send().await?;
        Ok(())
    }

    /// Makes an IAM group.
    pub async fn create_group(&self, name: &str) -> Result<()> {
        self.iam.create_group().group_name(name).send().await?;
        Ok(())
    }

    /// Deletes an IAM group, which must be empty.
    pub async fn delete_group(&self, name: &str) -> Result<()> {
        self.iam.delete_group().group_name(name).send().await?;
        Ok(())
    }

    /// Puts a user into a group.
    pub async fn add_to_group(&self, user: &str, group: &str) -> Result<()> {
        self.iam.add_user_to_group().user_name(user).group_name(group).send().await?;
        Ok(())
    }

    /// Takes a user out of a group.
    pub async fn remove_from_group(&self, user: &str, group: &str) -> Result<()> {
        self.iam.remove_user_from_group().user_name(user).group_name(group).send().await?;
        Ok(())
    }
}
