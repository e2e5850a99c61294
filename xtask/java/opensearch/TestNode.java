// Starts one OpenSearch 2 node out of the jars of Maven Central, without the distribution: the node's constructor that takes
// plugin classes is protected, hence the subclass. Arguments: home, data folder, HTTP port, transport port.
import java.nio.file.Path;
import java.util.List;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

public final class TestNode extends Node {
    private TestNode(Environment environment) {
        super(environment, List.of(Netty4Plugin.class), false);
    }

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Settings settings = Settings.builder()
            .put("path.home", home.toString())
            .put("path.data", arguments[1])
            .put("path.logs", home.resolve("logs").toString())
            .put("node.name", "wiesel-opensearch")
            .put("cluster.name", "wiesel-opensearch")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[2])
            .put("transport.port", arguments[3])
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
        LogConfigurator.setNodeName("wiesel-opensearch");
        Environment environment = new Environment(settings, home.resolve("config"));
        LogConfigurator.configure(environment);
        Node node = new TestNode(environment);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (java.io.IOException error) {
                error.printStackTrace();
            }
        }));
        node.start();
        System.out.println("node is ready");
        // All threads of a node are daemons: the main thread keeps the process alive until a signal ends it.
        Thread.currentThread().join();
    }
}
