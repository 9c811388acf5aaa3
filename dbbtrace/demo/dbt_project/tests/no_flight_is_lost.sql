select built.flights, loaded.flights
from (select count(*) as flights from {{ ref("fct_flights") }}) as built
cross join (select count(*) as flights from {{ ref("stg_flights") }}) as loaded
where built.flights <> loaded.flights
