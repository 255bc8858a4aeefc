"""The network laboratory: sites in network namespaces of one machine, and a WAN between them.

The kernels we meet have no netem, so a process of ours (`wan_emulator`) carries every packet
between the namespaces through TUN devices, and delays, loses, shapes, cuts and counts it on the
way. It needs root, `ip` (iproute2), `nsenter` (util-linux) and /dev/net/tun;
`namespaces.missing_for_a_network()` says what is not there. Benchmarks, recipes and tests use it;
geosync itself never does.

    from laboratory.line import LineSettings
    from laboratory.network import Network

    with Network(["bari", "geneva", "swift"], LineSettings(one_way_delay_ms=10)) as network:
        process = subprocess.Popen(network.command_in("bari", ["python3", "-m", "http.server"]))
        network.address_of("bari")                          # "10.77.0.1", the same at every site
        network.change_line("bari", "geneva", loss_share=0.01, bandwidth_mbit_per_s=100)
        network.cut("bari", "swift")                        # both directions, until `heal`
        network.counts()[("bari", "geneva")].size_bytes     # on the wire, headers included

Every ordered pair of namespaces has a line of its own, so that the two directions between two
sites can differ; they all start with the same settings. `laboratory.swift_in_network` runs a real
Swift in a namespace. A namespace has no way out to the machine or to other networks; files and
Unix sockets are those of the machine. Everything disappears at the end of the `with`, and also
when the process that holds it is killed (the namespaces then when the next network is made).
"""
