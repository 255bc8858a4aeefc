# /etc/redmine/default/puma.rb: the application server. Started by
#   cd /usr/share/redmine; REDMINE_INSTANCE=default GEOSYNC_SITE=$SITE puma -C /etc/redmine/default/puma.rb
# without `bundle exec`, as Puma is no part of Debian's Gemfile of Redmine.
environment "production"
directory "/usr/share/redmine"
rackup "/usr/share/redmine/config.ru"
bind "tcp://0.0.0.0:3000"
workers 0
threads 1, 5
