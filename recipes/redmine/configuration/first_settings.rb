# Settings that an administrator would make in the browser; prints the key of the REST interface.
Setting.rest_api_enabled = "1"
Setting.thumbnails_enabled = "1"
Setting.attachment_max_size = (1024 * 1024).to_s
Setting.default_projects_modules = Redmine::AccessControl.available_project_modules.map(&:to_s)
administrator = User.find_by(login: "admin")
administrator.password = "laboratory"
administrator.must_change_passwd = false
administrator.save!
puts administrator.api_key
