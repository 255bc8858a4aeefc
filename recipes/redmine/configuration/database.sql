CREATE DATABASE redmine CHARACTER SET utf8mb4;
CREATE USER redmine@127.0.0.1 IDENTIFIED BY 'laboratory';
GRANT ALL ON redmine.* TO redmine@127.0.0.1;
-- Of the health agents: may only see whether the server is in the majority.
CREATE USER health@127.0.0.1 IDENTIFIED BY 'laboratory';
-- Of the audit: may only read.
CREATE USER audit@127.0.0.1 IDENTIFIED BY 'laboratory';
GRANT SELECT ON redmine.* TO audit@127.0.0.1;
