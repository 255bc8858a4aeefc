# Waits for the file of an attachment that another site has just written, instead of answering 404.
#
# The database brings the row some 30 ms after it was committed elsewhere, and geosync the file some
# tenths of a second later. Who asks in between gets his file a little later; who deletes in between
# deletes the file as well, where Redmine alone would leave it behind for ever.
#
# GEOSYNC_WAIT_S in Redmine's environment says for how long at most (5 when missing, 0 turns it off).
# It waits for young rows only: a file that is lost would make everybody wait in vain. And in two
# threads at most: the others go on serving, and answer 404 as ever.
Redmine::Plugin.register :geosync_arrival do
  name "Attachments on their way"
  description "Waits for files that another site has just written"
  version "1.0.0"
  requires_redmine version_or_higher: "4.0"
end

module GeosyncArrival
  WAIT_S = Float(ENV.fetch("GEOSYNC_WAIT_S", "5"))
  YOUNG_S = 600
  LOOK_EVERY_S = 0.02
  THREADS_MAX = 2

  @waiting = 0
  @lock = Mutex.new

  # A file takes its name when it is complete, so that it is there means that all of it is.
  def self.await(path, created_on)
    return if File.exist?(path) || WAIT_S.zero?
    return if created_on.nil? || created_on < Time.now - YOUNG_S
    as_one_of_few { wait_for(path) }
  end

  def self.as_one_of_few
    yield if @lock.synchronize { @waiting += 1 } <= THREADS_MAX
  ensure
    @lock.synchronize { @waiting -= 1 }
  end

  def self.wait_for(path)
    end_s = now_s + WAIT_S
    sleep LOOK_EVERY_S until File.exist?(path) || now_s > end_s
  end

  def self.now_s
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def readable?
    GeosyncArrival.await(diskfile, created_on) if disk_filename.present?
    super
  end

  private

  def delete_from_disk!
    GeosyncArrival.await(diskfile, created_on) if disk_filename.present?
    super
  end
end

Attachment.prepend(GeosyncArrival)
