select
    airlines.airline,
    airports.name as airport,
    date_trunc('month', flights.time_hour) as month,
    count(*) as flights,
    avg((flights.delay_class in ('early', 'on time'))::integer) as share_on_time,
    avg(flights.cancelled::integer) as share_cancelled
from {{ ref("fct_flights") }} as flights
join {{ ref("dim_airlines") }} as airlines using (carrier)
join {{ ref("stg_airports") }} as airports on flights.origin = airports.airport
group by all
