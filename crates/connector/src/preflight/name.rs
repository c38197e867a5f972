//! The checks: what each is called, which side it concerns, and which others have to pass before it can be made.

use mapping::ProblemKind;
use serde::Serialize;

/// The side that a check concerns, and on which its remedy is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Side {
    /// Dynamics 365, Dataverse and Entra ID.
    Dataverse,
    /// Adobe Campaign, IMS and the journal.
    Campaign,
    /// This machine: store and clock.
    Here,
}

macro_rules! checks {
    ($($name:ident $text:literal $side:ident [$($need:ident)*];)+) => {
        /// One check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Name {
            $($name,)+
        }

        impl Name {
            /// All checks, each behind those that it needs.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable name.
            pub(super) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The side that it concerns.
            pub(super) fn side(self) -> Side {
                match self {
                    $(Self::$name => Side::$side,)+
                }
            }

            /// What has to pass before it can be made.
            pub(super) fn needs(self) -> &'static [Self] {
                match self {
                    $(Self::$name => &[$(Self::$need,)*],)+
                }
            }
        }
    };
}

checks! {
    StoreUsable "store-usable" Here [];
    ClockSkew "clock-skew" Here [];
    DataverseIdentityProvider "dataverse-identity-provider" Dataverse [];
    DataverseCredentials "dataverse-credentials" Dataverse [DataverseIdentityProvider];
    DataverseReachable "dataverse-reachable" Dataverse [DataverseCredentials];
    DataverseApplicationUser "dataverse-application-user" Dataverse [DataverseReachable];
    SameOrganization "same-organization" Dataverse [DataverseApplicationUser StoreUsable];
    OrganizationReadable "organization-readable" Dataverse [DataverseApplicationUser];
    CampaignIdentityProvider "campaign-identity-provider" Campaign [];
    CampaignCredentials "campaign-credentials" Campaign [CampaignIdentityProvider];
    CampaignReachable "campaign-reachable" Campaign [CampaignCredentials];
    CampaignApiKey "campaign-api-key" Campaign [CampaignReachable];
    CampaignOrganisation "campaign-organisation" Campaign [CampaignApiKey];
    CampaignProductProfile "campaign-product-profile" Campaign [CampaignOrganisation];
    ExtApiPublished "ext-api-published" Campaign [CampaignProductProfile];
    TableExists "table-exists" Dataverse [DataverseApplicationUser ExtApiPublished];
    ChangeTrackingOn "change-tracking-on" Dataverse [TableExists];
    ResourcePublished "resource-published" Campaign [ExtApiPublished DataverseApplicationUser];
    ColumnsExist "columns-exist" Dataverse [TableExists ResourcePublished];
    AttributesExist "attributes-exist" Campaign [TableExists ResourcePublished];
    AttributesWritable "attributes-writable" Campaign [TableExists ResourcePublished];
    KeyHoldsId "key-holds-id" Campaign [TableExists ResourcePublished];
    TypesConvert "types-convert" Campaign [TableExists ResourcePublished];
    ValuesFit "values-fit" Campaign [TableExists ResourcePublished];
    ReadPrivilege "dataverse-read-privilege" Dataverse [
        ChangeTrackingOn ColumnsExist AttributesExist AttributesWritable KeyHoldsId TypesConvert ValuesFit
    ];
    KeyAddressesRows "key-addresses-rows" Campaign [
        ChangeTrackingOn ColumnsExist AttributesExist AttributesWritable KeyHoldsId TypesConvert ValuesFit
    ];
    WritePrivilege "dataverse-write-privilege" Dataverse [DataverseApplicationUser];
    OptOutPairs "opt-out-pairs" Dataverse [DataverseApplicationUser ExtApiPublished ChangeTrackingOn ResourcePublished];
    OptOutFilter "opt-out-filter" Campaign [
        DataverseApplicationUser ExtApiPublished ChangeTrackingOn ResourcePublished
    ];
    OptOutWorkflow "opt-out-workflow-running" Campaign [ExtApiPublished];
    ActivityTables "activity-tables" Dataverse [DataverseApplicationUser];
    ActivityColumns "activity-columns" Dataverse [ActivityTables];
    ActivityRegarding "activity-regarding" Dataverse [ActivityTables];
    ActivityBulk "activity-bulk" Dataverse [ActivityTables ActivityColumns ActivityRegarding];
    JournalReachable "journal-reachable" Campaign [CampaignCredentials];
    JournalReadable "journal-readable" Campaign [JournalReachable];
    SftpReachable "sftp-reachable" Campaign [];
    SftpHostKey "sftp-host-key" Campaign [SftpReachable];
    SftpUser "sftp-user" Campaign [SftpHostKey];
    SftpFolders "sftp-folders" Campaign [SftpUser];
    OptOutFiles "opt-out-files" Campaign [SftpFolders];
}

impl Name {
    /// The questions to Dynamics 365 that one answer answers, in the order in which they arise.
    pub(super) const OF_DATAVERSE: [Self; 4] = [
        Self::DataverseIdentityProvider,
        Self::DataverseCredentials,
        Self::DataverseReachable,
        Self::DataverseApplicationUser,
    ];

    /// The same of Campaign.
    pub(super) const OF_CAMPAIGN: [Self; 7] = [
        Self::CampaignIdentityProvider,
        Self::CampaignCredentials,
        Self::CampaignReachable,
        Self::CampaignApiKey,
        Self::CampaignOrganisation,
        Self::CampaignProductProfile,
        Self::ExtApiPublished,
    ];

    /// The questions that compiling a mapping answers.
    pub(super) const OF_MAPPING: [Self; 6] = [
        Self::ColumnsExist,
        Self::AttributesExist,
        Self::AttributesWritable,
        Self::KeyHoldsId,
        Self::TypesConvert,
        Self::ValuesFit,
    ];

    /// The check that a problem of a mapping belongs to.
    pub(crate) fn of_mapping(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::UnknownColumn | ProblemKind::Unreadable => Self::ColumnsExist,
            ProblemKind::UnknownAttribute => Self::AttributesExist,
            ProblemKind::ReadOnly => Self::AttributesWritable,
            ProblemKind::UnsuitableKey | ProblemKind::KeyMapped => Self::KeyHoldsId,
            ProblemKind::UnmappedReplacement
            | ProblemKind::DuplicateReplacement
            | ProblemKind::BadReplacement
            | ProblemKind::BadComparison
            | ProblemKind::BadFilterValue => Self::ValuesFit,
            _ => Self::TypesConvert,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_stand_behind_what_they_need() {
        let names: BTreeSet<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
        assert_eq!(names.len(), Name::ALL.len());
        for name in Name::ALL {
            assert!(name.needs().iter().all(|need| need < name), "{}", name.as_str());
        }
    }
}
