# Puts the site into the names of attachments' files: 261120103442_bari-report.pdf.
#
# Redmine names a file by the second and its name. Two sites that get a file of one name in one
# second would both take the same path, for two rows of the database with different contents; no
# program that copies files can satisfy both. The site is in GEOSYNC_SITE, in Redmine's environment;
# without it nothing is changed. Rows and files from before stay as they are.
Redmine::Plugin.register :geosync_site_name do
  name "Site in the names of attachments"
  description "Two sites never write two attachments to one path"
  version "1.0.0"
  requires_redmine version_or_higher: "4.0"
end

module GeosyncSiteName
  SITE = ENV.fetch("GEOSYNC_SITE", "")

  # Too long or unusual a name is replaced by its digest, of which the site is a part then.
  def create_diskfile(filename, *directory, &block)
    return super if GeosyncSiteName::SITE.empty?
    super("#{GeosyncSiteName::SITE}-#{filename}", *directory, &block)
  end
end

Attachment.singleton_class.prepend(GeosyncSiteName)
